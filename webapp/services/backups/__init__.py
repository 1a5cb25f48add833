# SPDX-License-Identifier: Apache-2.0
"""Backups of a region: make, verify and restore them."""
