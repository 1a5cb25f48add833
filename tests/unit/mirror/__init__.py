# SPDX-License-Identifier: Apache-2.0
"""Pulling a stream into a folder: whole and verified, or as it was before."""
