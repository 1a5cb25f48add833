# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: readable only with the key that is kept outside the database."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from webapp.errors import Problem
from webapp.extensions import settings


class SecretProblem(Problem):
    """A kept secret cannot be read with today's key."""

    code = "secret-unreadable"


def seal(text: str) -> str:
    """Encrypt a text; "" stays ""."""
    return _fernet().encrypt(text.encode()).decode() if text else ""


def unseal(token: str, *, max_age_s: int | None = None) -> str:
    """Decrypt what ``seal`` made, not older than ``max_age_s``; "" stays "".

    Raises SecretProblem when the key changed, the text was altered or it is too old.
    """
    if not token:
        return ""
    try:
        return _fernet().decrypt(token.encode(), ttl=max_age_s).decode()
    except (InvalidToken, UnicodeError) as error:
        raise SecretProblem(
            "A stored password or form can't be decrypted.",
            expected="text encrypted with the current SLIPWAY_SECRET_KEY",
            got="text that this key can't decrypt, or that is too old",
            next_step="Enter it again.",
        ) from error


def _fernet() -> Fernet:
    # HKDF keeps this key apart from the one that signs cookies, which is the same text.
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"slipway secrets at rest")
    return Fernet(base64.urlsafe_b64encode(derive.derive(settings().secret_key.encode())))
