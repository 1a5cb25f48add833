# SPDX-License-Identifier: Apache-2.0
"""Uploads in a real browser."""
