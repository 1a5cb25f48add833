# SPDX-License-Identifier: Apache-2.0
"""Downloads into a store."""
