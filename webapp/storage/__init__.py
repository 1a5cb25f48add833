# SPDX-License-Identifier: Apache-2.0
"""The store: bytes by sha256, visible only when whole and verified. No Flask, no models."""
