# SPDX-License-Identifier: Apache-2.0
"""Streams of legal, less usual shapes, as people publish them."""
