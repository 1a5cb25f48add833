# SPDX-License-Identifier: Apache-2.0
"""Pause and resume a run: by a person, and by the windows of unattended imports.

``import_run.hold`` is the truth, changed by conditional UPDATEs only. A held run stays
running, with its lease renewed; its worker leaves off inside a file, and whichever
worker has the run continues from there once ``hold`` is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import update

from webapp.errors import Conflict
from webapp.extensions import db
from webapp.models import ACTIVE_STATES, HOLD_USER, HOLD_WINDOW, ImportRun, utcnow
from webapp.services.imports import queueing, runs
from webapp.services.system import events, live_settings, statements, windows
from webapp.services.system.live_settings import TIME_ZONE, WINDOWS

_ACTIVE = (ImportRun.state.in_(ACTIVE_STATES), ImportRun.is_cancelled.is_(False))


@dataclass(frozen=True)
class WindowState:
    """Whether unattended imports may run now, and when that changes; None: never."""

    is_open: bool
    changes_at: datetime | None
    is_limited: bool  # there are windows at all


def pause(requested_by: str) -> ImportRun | None:
    """Hold the current run until someone resumes it; None when there is none.

    Downloads leave off within a second; what was received is kept.
    """
    return _set_hold(HOLD_USER, requested_by, "run.paused")


def resume(requested_by: str) -> ImportRun | None:
    """Let the current run go on, outside windows too; None when there is none."""
    return _set_hold("", requested_by, "run.continued")


def window_state(now: datetime) -> WindowState:
    """The windows of unattended imports at a moment."""
    found, zone = _windows()
    return WindowState(
        is_open=windows.is_open(now, found, zone),
        changes_at=windows.next_change(now, found, zone),
        is_limited=bool(found),
    )


def demand_window() -> None:
    """Raise Conflict while no window is open, for those who don't want to import then."""
    window = window_state(utcnow())
    if not window.is_open:
        at = window.changes_at
        opens = f" The next one opens at {at:%Y-%m-%d %H:%M} UTC." if at else ""
        raise OutsideWindows(
            f"No import window is open.{opens}",
            where=WINDOWS,
            next_step="Wait for it, or allow this import to run outside the windows.",
        )


class OutsideWindows(Conflict):
    """Imports may not start by themselves now."""

    code = "outside-windows"


def follow_windows(run_id: int, owner: str) -> str:
    """Hold our run outside windows, or let it go on, unless a person decided; returns ``hold``."""
    run = db.session.execute(
        db.select(ImportRun.hold, ImportRun.is_attended).where(*runs.owned_by(run_id, owner))
    ).one_or_none()
    if run is None or run.is_attended or run.hold == HOLD_USER:
        db.session.rollback()
        return run.hold if run else ""
    hold = "" if windows.is_open(runs.now(), *_windows()) else HOLD_WINDOW
    if hold == run.hold:
        db.session.rollback()
        return hold
    changed = statements.count(
        update(ImportRun)
        .where(
            *runs.owned_by(run_id, owner),
            ImportRun.hold == run.hold,
            ImportRun.is_attended.is_(False),
        )
        .values(hold=hold)
    )
    if changed:
        kind = "run.paused" if hold else "run.continued"
        events.record(kind, actor="worker", subject=f"run {run_id}", hold=HOLD_WINDOW)
    db.session.commit()
    return hold if changed else str(run.hold)


def _windows() -> tuple[tuple[windows.Window, ...], ZoneInfo]:
    values = live_settings.read_all()
    zone = windows.parse_zone(str(values[TIME_ZONE]))
    return windows.parse(str(values[WINDOWS])), zone


def _set_hold(hold: str, requested_by: str, kind: str) -> ImportRun | None:
    query = update(ImportRun).where(*_ACTIVE, ImportRun.hold != hold)
    values = {"hold": hold} if hold else {"hold": hold, "is_attended": True}
    changed = statements.execute(query.values(**values).returning(ImportRun.id)).scalars().all()
    for run_id in changed:
        events.record(kind, actor=requested_by, subject=f"run {run_id}")
    db.session.commit()
    run: ImportRun | None = db.session.scalar(queueing.wanted())
    return run
