# SPDX-License-Identifier: Apache-2.0
"""``/status``, ``/health``, ``/store``, ``/events`` and ``/settings``: the whole system."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from pydantic import Field, JsonValue

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.images import ImageFields
from webapp.api.v1.imports import RunFields
from webapp.api.v1.schemas import (
    Empty,
    Page,
    Paging,
    ProblemItem,
    RequestModel,
    ResponseModel,
    page_of,
)
from webapp.config import table
from webapp.extensions import settings
from webapp.models import Event
from webapp.services.accounts.rights import Right
from webapp.services.blobs import scrubbing
from webapp.services.overview import health, status, store
from webapp.services.system import events, live_settings
from webapp.severity import Severity

routes = Routes("system")


class SourceItem(ResponseModel):
    """A boot source, in brief. error: code of the problem, empty if there is none."""

    id: int
    url: str
    name: str
    priority: int
    is_enabled: bool
    is_unsigned: bool
    checked_at: datetime | None
    refreshed_at: datetime | None
    index_updated_at: datetime | None
    signer: str
    state: str
    error: str


class RunFailureItem(ProblemItem):
    """What failed in an import. image: ``os/release``; empty if a source failed."""

    source: str
    image: str
    architecture: str
    file: str


class RunItem(RunFields):
    """An import, in brief."""

    failures: list[RunFailureItem]


class StatusResponse(ResponseModel):
    """The state of the system. free_bytes: null if the store can't tell."""

    sources: list[SourceItem]
    images: list[ImageFields]
    run: RunItem | None
    last_run: RunItem | None
    is_importing: bool
    stored_bytes: int
    free_bytes: int | None
    problems: list[ProblemItem]
    version: str


class CheckResponse(ResponseModel):
    """One check. severity: ok, off, busy, warn or error."""

    name: str
    severity: Severity
    found: str
    next_step: str


class HealthResponse(ResponseModel):
    """All checks, most serious first. is_well: there are no errors."""

    is_well: bool
    checks: list[CheckResponse]


class ScrubPass(ResponseModel):
    """The last pass that checked stored files."""

    finished_at: datetime
    files: int
    bytes: int
    damaged: int
    seconds: float


class ScrubResponse(ResponseModel):
    """How far the stored bytes have been read and checked again.

    days: within how many days each file is checked; 0: only on request. rate: bytes per
    second, 0 without a limit. The counts are of what is due or was asked for.
    """

    days: int
    rate: int
    is_running: bool
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    seconds_left: int | None
    all_checked_since: datetime | None
    damaged: int
    last_pass: ScrubPass | None


class ScrubRequest(RequestModel):
    """Check every stored file now. rate: MiB per second for this pass, 0 without a limit."""

    rate: int | None = Field(None, ge=0, le=100_000)


class StoreResponse(ResponseModel):
    """What the store holds."""

    kind: str
    blobs: int
    stored_bytes: int
    free_bytes: int | None
    unfinished_files: int
    unfinished_bytes: int
    uploads_open: int
    damaged: int
    scrub: ScrubResponse


class EventFilter(Paging):
    """Which events. kind: a kind, or the start of one with its dot, e.g. ``source.``."""

    kind: str = Field("", max_length=100)
    actor: str = Field("", max_length=200)
    subject: str = Field("", max_length=200)


class EventResponse(ResponseModel):
    """An event. actor: a user, "worker" or a machine's address; empty if it isn't yours to see."""

    id: int
    at: datetime
    kind: str
    actor: str
    subject: str
    detail: dict[str, JsonValue]


class SettingResponse(ResponseModel):
    """A setting. is_runtime: it can be changed while Slipway is running."""

    name: str
    value: bool | str
    help: str
    is_runtime: bool
    origin: str = ""


class SettingsRequest(RequestModel):
    """New values by name, for settings that can be changed while Slipway is running."""

    values: dict[str, bool | str] = Field(min_length=1, max_length=20)


@routes("GET", "/status", Right.SEE)
def read_status(call: PlainCall) -> StatusResponse:
    """Show what's stored, what's running and what's wrong."""
    return StatusResponse(**asdict(status.overview()), version=store.version())


@routes("GET", "/health", Right.MANAGE)
def read_health(call: PlainCall) -> HealthResponse:
    """Check the system, and show what to do about each problem."""
    found = health.run_checks()
    return HealthResponse(
        is_well=all(check.severity != Severity.ERROR for check in found),
        checks=[CheckResponse.model_validate(check) for check in found],
    )


@routes("GET", "/store", Right.SEE)
def read_store(call: PlainCall) -> StoreResponse:
    """Show what the store holds."""
    scrub = ScrubResponse.model_validate(scrubbing.status())
    return StoreResponse(**store.of_store(), scrub=scrub)


@routes("POST", "/store/scrub", Right.IMPORT, status=202)
def start_scrub(call: Call[Empty, ScrubRequest]) -> ScrubResponse:
    """Read and check every stored file, in the background."""
    scrubbing.request(call.actor, call.body.rate)
    return ScrubResponse.model_validate(scrubbing.status())


@routes("GET", "/events", Right.SEE)
def read_events(call: Call[EventFilter, None]) -> Page[EventResponse]:
    """List events, newest first: to viewers those of images and machines."""
    wanted, role = call.query, call.caller.sees
    rows = events.page(
        kind=wanted.kind,
        actor=wanted.actor,
        subject=wanted.subject,
        before=wanted.cursor,
        limit=wanted.limit + 1,
        role=role,
    )

    def response_of(event: Event) -> EventResponse:
        found = EventResponse.model_validate(event)
        found.actor = events.shown_actor(event, role)
        return found

    return page_of(rows, wanted.limit, response_of, lambda event: event.id)


@routes("GET", "/settings", Right.MANAGE)
def read_settings(call: PlainCall) -> Page[SettingResponse]:
    """List every setting; secrets are masked."""
    return _settings()


@routes("PATCH", "/settings", Right.MANAGE, state=read_settings)
def change_settings(call: Call[Empty, SettingsRequest]) -> Page[SettingResponse]:
    """Change settings: all of them or, on an error, none."""
    values = {name: str(value) for name, value in call.body.values.items()}
    live_settings.change_all(values, call.actor)
    return _settings()


def _settings() -> Page[SettingResponse]:
    values = live_settings.read_all()
    found = [
        SettingResponse(name=name, value=values[name], help=known.help, is_runtime=True)
        for name, known in live_settings.KNOWN.items()
    ]
    found += [
        SettingResponse(name=name, value=value, help=help, is_runtime=False, origin=origin)
        for name, value, origin, help in table(settings())
    ]
    return Page[SettingResponse](items=found)
