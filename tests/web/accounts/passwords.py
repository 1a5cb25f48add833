# SPDX-License-Identifier: Apache-2.0
"""Passwords of these tests."""

from __future__ import annotations

NEW = "a quite different passphrase"
