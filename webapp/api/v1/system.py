# SPDX-License-Identifier: Apache-2.0
"""``/status``, ``/store``, ``/events`` and ``/settings``: how the whole system is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.schemas import Given, Page, Paging, Told, Words
from webapp.config import table
from webapp.extensions import settings
from webapp.services.accounts.tokens import Scope
from webapp.services.overview import health, status, store
from webapp.services.system import events, live_settings

TAG = "system"


class StatusTold(Told):
    """The state of the system. Bytes; free_bytes: null when nobody can know."""

    sources: list[dict[str, Any]]
    images: list[dict[str, Any]]
    run: dict[str, Any] | None
    last_run: dict[str, Any] | None
    is_importing: bool
    stored_bytes: int
    free_bytes: int | None
    problems: list[Words]
    version: str


class CheckTold(Told):
    """One thing that was looked at. state: ok, warn or bad."""

    name: str
    state: str
    found: str
    next_step: str


class HealthTold(Told):
    """Everything that was looked at, the worst first. is_well: nothing is bad."""

    is_well: bool
    checks: list[CheckTold]


class StoreTold(Told):
    """What the store holds, in bytes and in pieces."""

    kind: str
    blobs: int
    stored_bytes: int
    free_bytes: int | None
    unfinished_files: int
    unfinished_bytes: int
    uploads_open: int
    damaged: int


class EventFilter(Paging):
    """Which events. kind: the whole word, or a part with a dot at its end such as ``source.``."""

    kind: str = Field("", max_length=100)
    actor: str = Field("", max_length=200)
    subject: str = Field("", max_length=200)


class EventTold(Told):
    """Something that happened."""

    id: int
    at: datetime
    kind: str
    actor: str
    subject: str
    detail: dict[str, Any]


class SettingTold(Told):
    """A setting. is_runtime: it can be changed while the system runs."""

    name: str
    value: bool | str
    help: str
    is_runtime: bool
    origin: str = ""


class SettingsGiven(Given):
    """New values by name, of those that can be changed while the system runs."""

    values: dict[str, bool | str] = Field(min_length=1, max_length=20)


def read_status(call: Call) -> StatusTold:
    """Tell what is stored, what is running and what is wrong."""
    return StatusTold(**asdict(status.overview()), version=store.version())


def read_health(call: Call) -> HealthTold:
    """Look for what is wrong, and say what to do about it."""
    found = health.look()
    return HealthTold(
        is_well=all(check.state != health.BAD for check in found),
        checks=[CheckTold.model_validate(check) for check in found],
    )


def read_store(call: Call) -> StoreTold:
    """Tell what the store holds."""
    return StoreTold(**store.of_store())


def read_events(call: Call) -> Page[EventTold]:
    """List what happened, the newest first."""
    wanted: EventFilter = call.query
    rows = events.page(
        kind=wanted.kind,
        actor=wanted.actor,
        subject=wanted.subject,
        before=wanted.cursor,
        limit=wanted.limit + 1,
    )
    more = len(rows) > wanted.limit
    items = [EventTold.model_validate(row) for row in rows[: wanted.limit]]
    return Page[EventTold](items=items, next=items[-1].id if more else None)


def read_settings(call: Call) -> Page[SettingTold]:
    """List every setting; secrets are masked."""
    values = live_settings.read_all()
    found = [
        SettingTold(name=name, value=_masked(name, values[name]), help=known.help, is_runtime=True)
        for name, known in live_settings.KNOWN.items()
    ]
    found += [
        SettingTold(name=name, value=value, help=help, is_runtime=False, origin=origin)
        for name, value, origin, help in table(settings())
    ]
    return Page[SettingTold](items=found)


def change_settings(call: Call) -> Page[SettingTold]:
    """Change settings, all or none."""
    given: dict[str, bool | str] = call.body.values
    live_settings.change_all({name: str(value) for name, value in given.items()}, call.actor)
    return read_settings(call)


def _masked(name: str, value: bool | str) -> bool | str:
    """A proxy without its user and password."""
    if name != live_settings.HTTP_PROXY or "@" not in str(value):
        return value
    scheme, _, rest = str(value).partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


ENDPOINTS = (
    Endpoint("GET", "/status", read_status, Scope.READ, TAG, answer=StatusTold),
    Endpoint("GET", "/health", read_health, Scope.ADMIN, TAG, answer=HealthTold),
    Endpoint("GET", "/store", read_store, Scope.READ, TAG, answer=StoreTold),
    Endpoint(
        "GET", "/events", read_events, Scope.READ, TAG, query=EventFilter, answer=Page[EventTold]
    ),
    Endpoint("GET", "/settings", read_settings, Scope.ADMIN, TAG, answer=Page[SettingTold]),
    Endpoint(
        "PATCH",
        "/settings",
        change_settings,
        Scope.ADMIN,
        TAG,
        body=SettingsGiven,
        answer=Page[SettingTold],
        state=read_settings,
    ),
)
