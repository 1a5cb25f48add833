# SPDX-License-Identifier: Apache-2.0
"""Uploads through both APIs."""
