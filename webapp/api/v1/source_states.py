# SPDX-License-Identifier: Apache-2.0
"""``/sources/<id>/state``: a source whose stream went back, or changed under the same date."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, Routes
from webapp.api.v1.schemas import Empty, RequestModel, ResponseModel
from webapp.api.v1.sources import ONE
from webapp.services.accounts.rights import Right
from webapp.services.sources import accepting, sources

routes = Routes("sources")
MAX_CHANGES = 1000


class SourceStateRequest(RequestModel):
    """accept: the digest of the state to accept, as it was shown; empty only shows it."""

    accept: str = Field("", max_length=64)


class ProductChangeItem(ResponseModel):
    """A product that differs. before, after: its version, empty where it's missing.

    kind: gone, new, older, newer, or changed when other files have the same version.
    """

    product: str
    label: str
    kind: str
    before: str
    after: str


class StateChangeResponse(ResponseModel):
    """The state that is known, and the one that the stream has now.

    digest: of its signed documents. fingerprint: who signed it, empty if no one did.
    """

    digest: str
    updated_before: datetime | None
    updated_after: datetime | None
    signed_at: datetime | None
    fingerprint: str
    changes: list[ProductChangeItem] = Field(description="At most 1000")
    count: int
    is_accepted: bool


@routes("POST", f"{ONE}/state", Right.MANAGE)
def change_state(call: Call[Empty, SourceStateRequest], id: int) -> StateChangeResponse:
    """Show how a stream that was refused differs from what is known, or accept that state."""
    row, digest = sources.get(id), call.body.accept
    found = accepting.accept(row, digest, call.actor) if digest else accepting.propose(row)
    return StateChangeResponse(
        digest=found.digest,
        updated_before=found.updated_before,
        updated_after=found.updated_after,
        signed_at=found.signed_at,
        fingerprint=found.fingerprint,
        changes=[ProductChangeItem.model_validate(one) for one in found.changes[:MAX_CHANGES]],
        count=len(found.changes),
        is_accepted=bool(digest),
    )
