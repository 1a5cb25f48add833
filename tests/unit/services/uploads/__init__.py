# SPDX-License-Identifier: Apache-2.0
"""Uploaded images."""
