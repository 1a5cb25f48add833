# SPDX-License-Identifier: Apache-2.0
"""From products to what machines boot."""
