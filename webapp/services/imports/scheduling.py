# SPDX-License-Identifier: Apache-2.0
"""When automatic imports are due, and when the next one will start (rule: hourly-import).

A source with a schedule of its own is due by itself; all others are due together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, null, select

from webapp.extensions import db, settings
from webapp.models import BootSource, ImportRun
from webapp.services.imports import pausing
from webapp.services.system import live_settings, schedules, windows
from webapp.services.system.live_settings import SCHEDULE, TIME_ZONE


@dataclass(frozen=True)
class Due:
    """When each enabled source is due, in the past if it's overdue, and if by its own schedule."""

    at: dict[int, datetime]
    own: frozenset[int]

    @property
    def first(self) -> datetime | None:
        """When the next import is due; None while no source is enabled."""
        return min(self.at.values(), default=None)

    def by(self, now: datetime) -> tuple[str, list[int] | None]:
        """The trigger of an import at this moment, and the sources that it reads; None: all."""
        due = [id for id, at in self.at.items() if at <= now]
        trigger = "source" if self.own.issuperset(due) else "schedule"
        return trigger, None if len(due) == len(self.at) else due


def due(now: datetime) -> Due:
    """Which sources are due and when. Windows and the switch aren't considered."""
    columns = (BootSource.id, BootSource.schedule, BootSource.imported_at, BootSource.created_at)
    rows = db.session.execute(
        select(*columns).where(BootSource.is_enabled).order_by(BootSource.id)
    ).all()
    values = live_settings.read_all()
    zone = windows.parse_zone(str(values[TIME_ZONE]))
    every = schedules.Interval(timedelta(minutes=settings().import_interval))
    last: datetime | None = db.session.scalar(
        select(func.max(func.coalesce(ImportRun.started_at, ImportRun.queued_at))).where(
            ImportRun.trigger != "source", ImportRun.only_images.is_(null())
        )
    )
    regular = schedules.parse(str(values[SCHEDULE])) or every
    together = regular.next_after(last, zone) if last else now
    own = {row.id: schedules.parse(row.schedule) for row in rows if row.schedule}
    at = {
        row.id: schedule.next_after(row.imported_at or row.created_at, zone)
        if (schedule := own.get(row.id))
        else together
        for row in rows
    }
    return Due(at, frozenset(own))


def next_start(now: datetime) -> datetime | None:
    """When the next automatic import will start, in a window; None if none will."""
    first = due(now).first if live_settings.is_auto_import() else None
    if first is None:
        return None
    start = max(first, now)
    state = pausing.window_state(start)
    return start if state.is_open else state.changes_at
