# SPDX-License-Identifier: Apache-2.0
"""Imports, run as the worker runs them."""
