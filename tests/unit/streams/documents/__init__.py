# SPDX-License-Identifier: Apache-2.0
"""Index and product documents."""
