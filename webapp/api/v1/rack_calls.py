# SPDX-License-Identifier: Apache-2.0
"""``/racks/enrol`` and ``/racks/self``: what racks call, with a credential of their own.

It's no token of a person: it opens nothing else, and no token of a person opens these. They
aren't in the OpenAPI document, since only Slipway speaks them; docs/racks.md shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import structlog
from flask import Flask, Response, g, request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, IPvAnyAddress
from pydantic import ValidationError as Invalid

from webapp.api.v1 import answers
from webapp.api.v1.callers import Unauthorised
from webapp.api.v1.dispatch import API, read_body, read_query
from webapp.api.v1.schemas import ResponseModel, is_storable
from webapp.errors import Problem
from webapp.escaping import visible
from webapp.http import dispatch
from webapp.http.dispatch import Params
from webapp.models import Rack
from webapp.services.mirror import options
from webapp.services.racks import enrolling, following, reporting
from webapp.services.racks.reporting import Fetch

MAX_BODY_BYTES = 1 << 20
MAX_EVENTS = 500
_MAX_INT = 2**31 - 1
_MAX_COUNT = 2**53
FIRST_YEAR, LAST_YEAR = 1970, 3000  # a clock that was never set shows the first


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("This text has a character that can't be stored (NUL or a surrogate).")
    return text


def _dated(at: datetime) -> datetime:
    """A time in UTC. One that no clock shows would be out of range when it's counted with."""
    if not FIRST_YEAR <= at.year < LAST_YEAR:
        raise ValueError(f"This time isn't between {FIRST_YEAR} and {LAST_YEAR}.")
    return at.astimezone(UTC)


# A rack's words are shown on pages: nothing in them turns round what stands beside them.
Text = Annotated[str, Field(max_length=500), AfterValidator(_storable), AfterValidator(visible)]
Time = Annotated[AwareDatetime, AfterValidator(_dated)]
Count = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Small = Annotated[int, Field(ge=0, le=_MAX_INT)]


class RackRequest(BaseModel):
    """What a rack sends; fields that only a later version knows are ignored."""

    model_config = ConfigDict(extra="ignore")


class Enrolling(RackRequest):
    """A rack that wants to be one of this region's. url: as machines reach it.

    credential_sha256: of the credential that it made for itself.
    """

    token: Text
    name: Text
    url: Text = ""
    version: Annotated[Text, Field(max_length=60)] = ""
    credential_sha256: str = Field("", pattern="^([0-9a-f]{64})?$")


class EnrolledResponse(ResponseModel):
    """The rack's credential, if it brought none of its own, and whose signatures it trusts."""

    id: int
    credential: str
    mirror_path: str
    fingerprint: str
    public_key: str


class NextQuery(RackRequest):
    """The state that the rack has, and the seconds for which it waits for another."""

    after: Count = 0
    wait: float = Field(0.0, ge=0, le=3600)


class SettingsItem(ResponseModel):
    """What an administrator chose for the rack. verify: a new number asks to verify its store."""

    mode: str
    images: tuple[str, ...]
    max_bytes: int | None
    rate: int | None
    upstreams: tuple[str, ...]
    is_drained: bool
    verify: int
    after_rack: int | None


class NextResponse(ResponseModel):
    """What the rack is offered. again_s: seconds to wait before the next question."""

    state: int
    serial: int
    index_sha256: str
    mirror_path: str
    again_s: int
    settings: SettingsItem


class ErrorItem(RackRequest):
    """Something that went wrong on the rack."""

    at: Time
    what: Text


class ServingItem(RackRequest):
    """A machine that the rack serves just now."""

    machine: IPvAnyAddress
    name: Text
    sent: Count = 0
    size: Count = 0


class FetchItem(RackRequest):
    """A machine fetched a file from the rack, or didn't get it: why."""

    id: Count
    at: Time
    machine: IPvAnyAddress
    name: Text
    bytes: Count = 0
    why: Text = ""


class Report(RackRequest):
    """What the rack holds and does; counters are totals since it was enrolled."""

    held_state: Count = 0
    held_serial: Small = 0
    bytes: Count = 0
    files: Small = 0
    wanted_bytes: Count = 0
    hits: Count = 0
    misses: Count = 0
    sent_bytes: Count = 0
    fetched_bytes: Count = 0
    speed: Count = 0
    verified_at: Time | None = None
    errors: list[ErrorItem] = Field(default_factory=list, max_length=20)
    serving: list[ServingItem] = Field(default_factory=list, max_length=50)
    events: list[FetchItem] = Field(default_factory=list, max_length=MAX_EVENTS)


class ReportResponse(ResponseModel):
    """events: the highest id of the rack's events that the region has."""

    events: int


@dataclass(frozen=True)
class RackCall:
    """One of the calls. has_credential: whether it's for enrolled racks alone."""

    method: Literal["GET", "POST"]
    path: str
    run: Callable[[Rack | None, Any], BaseModel]
    schema: type[RackRequest]
    status: int = 200
    has_credential: bool = True


def enrol(rack: Rack | None, asked: Enrolling) -> EnrolledResponse:
    """Enrol the rack with its token."""
    address = request.remote_addr or ""
    found = enrolling.enrol(
        asked.token,
        asked.name,
        asked.url,
        asked.version,
        address=address,
        credential_hash=asked.credential_sha256,
    )
    return EnrolledResponse.model_validate(found)


def read_next(rack: Rack | None, asked: NextQuery) -> NextResponse:
    """Tell the rack its next state, once there is one."""
    is_alive = request.environ.get("slipway.is_alive", lambda: True)
    answer = following.next_state(_known(rack), asked.after, asked.wait, is_alive)
    if answer is None:
        raise _unknown()
    offer, chosen = answer.offer, answer.offer.settings
    fields = asdict(chosen) | {"verify": chosen.verifications, "after_rack": chosen.after_rack_id}
    return NextResponse(
        state=offer.state,
        serial=offer.stream.serial,
        index_sha256=offer.stream.index,
        mirror_path=f"/{options.prefix()}",
        again_s=answer.again_s,
        settings=SettingsItem.model_validate(fields),
    )


def report(rack: Rack | None, sent: Report) -> ReportResponse:
    """Keep what the rack reports."""
    g.is_routine = True  # it comes every few seconds, and needs no line in the log
    values = sent.model_dump(exclude={"errors", "serving", "events"})
    values["errors"] = [one.model_dump(mode="json") for one in sent.errors]
    values["serving"] = [one.model_dump(mode="json") for one in sent.serving]
    fetches = [Fetch(e.id, e.at, str(e.machine), e.name, e.bytes, e.why) for e in sent.events]
    return ReportResponse(events=reporting.keep(_known(rack), values, fetches))


CALLS = (
    RackCall("POST", "/racks/enrol", enrol, Enrolling, 201, has_credential=False),
    RackCall("GET", "/racks/self/next", read_next, NextQuery),
    RackCall("POST", "/racks/self/report", report, Report),
)


class _Dialect:
    """A rack's credential as a bearer token, JSON, and problems as the rest of the API."""

    def authenticate(self, endpoint: RackCall) -> Rack | None:
        if not endpoint.has_credential:
            return None
        kind, _, credential = request.headers.get("Authorization", "").partition(" ")
        address = request.remote_addr or ""
        rack = enrolling.find(credential.strip(), address=address) if kind == "Bearer" else None
        if rack is None:
            raise _unknown()
        structlog.contextvars.bind_contextvars(user=f"rack {rack.name}")
        return rack

    def read(self, endpoint: RackCall, caller: Rack | None, params: Params) -> _Asked:
        try:
            is_get = endpoint.method == "GET"
            schema = endpoint.schema
            sent = read_query(schema) if is_get else read_body(schema, MAX_BODY_BYTES)
        except Invalid as error:
            raise answers.invalid(error) from None
        return _Asked(caller, sent)

    def run(self, endpoint: RackCall, call: _Asked, params: Params) -> Response:
        return answers.as_json(endpoint.run(call.rack, call.sent), endpoint.status)

    def refuse(self, problem: Problem) -> Response:
        return answers.problem(problem)


@dataclass(frozen=True)
class _Asked:
    """Which rack asks, if it has to be one, and what it sent."""

    rack: Rack | None
    sent: RackRequest


_DIALECT = _Dialect()


def register(app: Flask) -> None:
    """Add the calls."""
    for call in CALLS:
        app.add_url_rule(
            API + call.path,
            endpoint=f"api_v1.rack_{call.run.__name__}",
            view_func=_view(call),
            methods=[call.method],
            provide_automatic_options=False,
        )


def _view(call: RackCall) -> Callable[[], Response]:
    def view() -> Response:
        return dispatch.answer(_DIALECT, call, request, {})

    return view


def _known(rack: Rack | None) -> Rack:
    if rack is None:
        raise LookupError("a call for enrolled racks was made without one")
    return rack


def _unknown() -> Unauthorised:
    return Unauthorised(
        "This rack isn't enrolled here.",
        where="the Authorization header",
        next_step="It was removed, or belongs to another region. Enrol it again with a token.",
    )
