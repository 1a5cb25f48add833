# SPDX-License-Identifier: Apache-2.0
"""Encryption of secrets at rest, with a key that is kept outside the database."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Unreadable(Exception):
    """A token that this key can't decrypt, that was altered, or that is too old."""


def seal(text: str, key: str) -> str:
    """Encrypt a text; "" stays ""."""
    return _fernet(key).encrypt(text.encode()).decode() if text else ""


def unseal(token: str, key: str, *, max_age_s: int | None = None) -> str:
    """Decrypt what ``seal`` made, not older than ``max_age_s``; "" stays "". Raises Unreadable."""
    if not token:
        return ""
    try:
        return _fernet(key).decrypt(token.encode(), ttl=max_age_s).decode()
    except (InvalidToken, UnicodeError) as error:
        raise Unreadable from error


def _fernet(key: str) -> Fernet:
    # HKDF keeps this key apart from the one that signs cookies, which is the same text.
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"slipway secrets at rest")
    return Fernet(base64.urlsafe_b64encode(derive.derive(key.encode())))
