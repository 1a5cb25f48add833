# SPDX-License-Identifier: Apache-2.0
"""``/racks``: racks on other machines, and the tokens that enrol them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from flask import request
from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel
from webapp.extensions import settings
from webapp.models import RackMode
from webapp.services.accounts.rights import Right
from webapp.services.racks import changing, listing, tokens
from webapp.services.racks.changing import MAX_IMAGES, MAX_NUMBER, MAX_UPSTREAMS
from webapp.services.racks.listing import RackState
from webapp.severity import Severity

routes = Routes("racks")
ONE = "/racks/<int:id>"


class RackError(ResponseModel):
    """Something that went wrong on a rack, in the rack's words."""

    at: datetime
    what: str


class RackServing(ResponseModel):
    """A machine that a rack serves. sent, size: bytes of the file."""

    machine: str
    name: str
    sent: int
    size: int


class RackItem(ResponseModel):
    """A rack on another machine.

    state, severity, text: what it's doing. held_serial, published_serial: the publication that
    it holds, and the region's. wanted_bytes: of what it's to hold. hit_rate: share of
    requests that it answered from its store. rate: bytes per second from its upstreams; null:
    no limit. after_rack_id: the rack that has to hold a new publication before this one.
    """

    VOLATILE: ClassVar = {
        *("state", "severity", "text", "seen_at", "reported_at", "address", "version"),
        *("held_serial", "published_serial", "bytes", "files", "wanted_bytes", "hits", "misses"),
        *("hit_rate", "sent_bytes", "fetched_bytes", "speed", "verified_at", "errors", "serving"),
    }

    id: int
    name: str
    url: str
    address: str
    version: str
    enrolled_at: datetime
    seen_at: datetime | None
    reported_at: datetime | None
    state: RackState
    severity: Severity
    text: str
    mode: RackMode
    images: list[str]
    max_bytes: int | None
    rate: int | None
    upstreams: list[str]
    is_drained: bool
    after_rack_id: int | None
    after_rack: str
    held_serial: int
    published_serial: int
    bytes: int
    files: int
    wanted_bytes: int
    hits: int
    misses: int
    hit_rate: float | None
    sent_bytes: int
    fetched_bytes: int
    speed: int
    verified_at: datetime | None
    errors: list[RackError]
    serving: list[RackServing]


class RackChange(RequestModel):
    """What to change. For numbers, 0 means no limit; for after_rack_id, no other rack.

    images: names like ``ubuntu/noble/amd64``. upstreams: URLs of mirrors in the order to try,
    empty for this region alone.
    """

    mode: RackMode | None = None
    images: list[str] | None = Field(None, max_length=MAX_IMAGES)
    max_bytes: int | None = Field(None, ge=0, le=MAX_NUMBER)
    rate: int | None = Field(None, ge=0, le=MAX_NUMBER)
    upstreams: list[str] | None = Field(None, max_length=MAX_UPSTREAMS)
    is_drained: bool | None = None
    after_rack_id: int | None = Field(None, ge=0, le=2**31 - 1)


class RackTokenItem(ResponseModel):
    """A token that enrols racks, without its secret."""

    id: int
    created_by: str
    created_at: datetime
    expires_at: datetime
    uses: int
    uses_left: int


class RackTokenRequest(RequestModel):
    """How many racks the token enrols, and for how long."""

    uses: int = Field(1, ge=1, le=tokens.MAX_USES)
    hours: int = Field(24, ge=1, le=tokens.MAX_HOURS)


class NewRackToken(RackTokenItem):
    """The token, this one time. command: the line to type on the rack."""

    token: str
    command: str


@routes("GET", "/racks", Right.SEE)
def list_racks(call: PlainCall) -> Page[RackItem]:
    """List the racks on other machines."""
    return Page(items=[RackItem.model_validate(one) for one in listing.all_racks()])


@routes("GET", ONE, Right.SEE)
def read_rack(call: PlainCall, id: int) -> RackItem:
    """Show a rack."""
    return RackItem.model_validate(listing.read(id))


@routes("PATCH", ONE, Right.MANAGE, state=read_rack)
def change_rack(call: Call[Empty, RackChange], id: int) -> RackItem:
    """Change what a rack holds and where it gets it; drain it or return it to service."""
    changing.change(id, call.actor, **call.body.model_dump())
    return RackItem.model_validate(listing.read(id))


@routes("POST", f"{ONE}/verification", Right.MANAGE, status=202)
def verify_rack(call: PlainCall, id: int) -> RackItem:
    """Check every file in a rack's store now."""
    changing.verify(id, call.actor)
    return RackItem.model_validate(listing.read(id))


@routes("DELETE", ONE, Right.MANAGE)
def remove_rack(call: PlainCall, id: int) -> None:
    """Remove a rack. It keeps serving what it has, and learns of nothing new."""
    changing.remove(id, call.actor)


@routes("GET", "/racks/tokens", Right.SEE)
def list_rack_tokens(call: PlainCall) -> Page[RackTokenItem]:
    """List the tokens that enrol racks."""
    return Page(items=[RackTokenItem.model_validate(row) for row in tokens.all_tokens()])


@routes("POST", "/racks/tokens", Right.MANAGE, status=201)
def create_rack_token(call: Call[Empty, RackTokenRequest]) -> NewRackToken:
    """Create a token that enrols racks, and the line to type on them."""
    row, token = tokens.create(
        call.actor, uses=call.body.uses, hours=call.body.hours, parent=call.caller.bearer
    )
    known = RackTokenItem.model_validate(row).model_dump()
    is_remote = call.caller.bearer is not None and not settings().public_url
    url = request.host_url if is_remote else tokens.region_url()
    return NewRackToken(**known, token=token, command=tokens.command(token, url))


@routes("DELETE", "/racks/tokens/<int:id>", Right.MANAGE)
def revoke_rack_token(call: PlainCall, id: int) -> None:
    """Revoke a token that enrols racks; those that it enrolled stay."""
    tokens.revoke(id, call.actor)
