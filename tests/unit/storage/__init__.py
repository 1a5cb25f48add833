# SPDX-License-Identifier: Apache-2.0
"""Stores and leases, one at a time."""
