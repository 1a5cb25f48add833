# SPDX-License-Identifier: Apache-2.0
"""When bytes are freed."""
