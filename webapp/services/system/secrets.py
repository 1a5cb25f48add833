# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: readable only with the key that is kept outside the database."""

from __future__ import annotations

from webapp import sealing
from webapp.errors import Problem
from webapp.extensions import settings


class SecretProblem(Problem):
    """A kept secret cannot be read with today's key."""

    code = "secret-unreadable"


def seal(text: str) -> str:
    """Encrypt a text; "" stays ""."""
    return sealing.seal(text, settings().secret_key)


def unseal(token: str, *, max_age_s: int | None = None) -> str:
    """Decrypt what ``seal`` made, not older than ``max_age_s``; "" stays "".

    Raises SecretProblem when the key changed, the text was altered or it is too old.
    """
    try:
        return sealing.unseal(token, settings().secret_key, max_age_s=max_age_s)
    except sealing.Unreadable as error:
        raise SecretProblem(
            "A stored password or form can't be decrypted.",
            expected="text encrypted with the current SLIPWAY_SECRET_KEY",
            got="text that this key can't decrypt, or that is too old",
            next_step="Enter it again.",
        ) from error
