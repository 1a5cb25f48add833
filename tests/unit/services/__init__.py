# SPDX-License-Identifier: Apache-2.0
"""Tests of the use cases, by subject; folders match webapp/services."""
