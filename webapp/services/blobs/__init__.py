# SPDX-License-Identifier: Apache-2.0
"""Bytes by digest: reserved, freed, compared with the store."""
