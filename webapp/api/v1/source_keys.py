# SPDX-License-Identifier: Apache-2.0
"""``/sources/<id>/key``: a source whose publisher signs with another key."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, Routes
from webapp.api.v1.schemas import Empty, RequestModel, ResponseModel
from webapp.api.v1.sources import ONE, keys_of
from webapp.services.accounts.rights import Right
from webapp.services.sources import rekeying, sources

routes = Routes("sources")


class SourceKeyRequest(RequestModel):
    """A new key of a source's publisher.

    keyring: the public keys, armored or in base64; empty searches this server's keyrings.
    accept: the fingerprint of the key to trust; empty only shows it.
    """

    keyring: str = ""
    accept: str = Field("", max_length=100)


class KeyItem(ResponseModel):
    """A public key."""

    fingerprint: str
    user_ids: list[str]
    expires_at: datetime | None


class KeyChangeResponse(ResponseModel):
    """The keys of a source, and those that its stream is signed by now.

    fingerprint: of the new key that signs. found_in: a keyring file of this server.
    """

    old: list[KeyItem]
    new: list[KeyItem]
    fingerprint: str
    signed_at: datetime | None
    found_in: str
    is_accepted: bool


@routes("POST", f"{ONE}/key", Right.MANAGE)
def change_key(call: Call[Empty, SourceKeyRequest], id: int) -> KeyChangeResponse:
    """Show the key that signs a source now beside the old ones, or accept it."""
    row, fingerprint = sources.get(id), call.body.accept
    keys = keys_of(call.body.keyring) if call.body.keyring else b""
    found = (
        rekeying.accept(row, fingerprint, call.actor, keys)
        if fingerprint
        else rekeying.propose(row, keys)
    )
    return KeyChangeResponse(
        old=[KeyItem.model_validate(key) for key in found.old],
        new=[KeyItem.model_validate(key) for key in found.new],
        fingerprint=found.fingerprint,
        signed_at=found.signed_at,
        found_in=found.found_in,
        is_accepted=bool(fingerprint),
    )
