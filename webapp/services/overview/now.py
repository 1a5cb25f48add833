# SPDX-License-Identifier: Apache-2.0
"""What the page Overview shows of this moment, in a fixed number of queries whatever is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select

from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import BootSourceSelection, Event, ImportRun, Role, SelectionRule, utcnow
from webapp.services.imports import runs, scheduling
from webapp.services.overview import health, machines
from webapp.services.overview.health import Check
from webapp.services.overview.machines import Fetching
from webapp.services.racks import listing as racks
from webapp.services.sources import sources
from webapp.services.system import events
from webapp.services.system.events import Wanted

SHOWN_EVENTS = 6


@dataclass(frozen=True)
class Start:
    """How far a region without images is: the first thing that is missing is the next step."""

    has_source: bool
    has_selection: bool


@dataclass(frozen=True)
class Now:
    """This moment. needs: what someone should see to, as ``slipway doctor`` judges it.

    start: None once an image is stored. checked_at: when the enabled source that was checked
    longest ago was; None while one never was. next_start: of an automatic import.
    """

    needs: Sequence[Check]
    start: Start | None
    run: ImportRun | None
    last_run: ImportRun | None
    checked_at: datetime | None
    next_start: datetime | None
    free_bytes: int | None
    fetching: Fetching
    events: Sequence[Event]


def read(role: Role) -> Now:
    """Read it. role: whose events are shown."""
    now = utcnow()
    needs = health.needs_attention()
    enabled = [row for row in sources.all_sources() if row.is_enabled]
    checked = [row.checked_at for row in enabled if row.checked_at is not None]
    is_empty = any(check.name == health.IMAGES for check in needs)
    return Now(
        needs=needs,
        start=_start(bool(enabled)) if is_empty else None,
        run=runs.current(),
        last_run=runs.last_ended(),
        checked_at=min(checked) if checked and len(checked) == len(enabled) else None,
        next_start=scheduling.next_start(now),
        free_bytes=_free_bytes(),
        fetching=machines.read(racks.all_racks(), now),
        events=events.find(Wanted(), limit=SHOWN_EVENTS, role=role),
    )


def _start(has_source: bool) -> Start:
    wanted = select(exists(select(BootSourceSelection.id)) | exists(select(SelectionRule.id)))
    return Start(has_source, bool(db.session.scalar(wanted)))


def _free_bytes() -> int | None:
    try:
        return store().free_bytes()
    except Problem:  # told among the needs
        return None
