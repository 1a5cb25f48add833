# SPDX-License-Identifier: Apache-2.0
"""When automatic imports are due, and when the next one will start (rule: hourly-import)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select

from webapp.extensions import db, settings
from webapp.models import BootSource, ImportRun
from webapp.services.imports import pausing
from webapp.services.system import live_settings, schedules, windows
from webapp.services.system.live_settings import SCHEDULE, TIME_ZONE


def due_at(now: datetime) -> datetime | None:
    """When the next automatic import is due, in the past if it's overdue.

    None while no source is enabled. Windows and the switch aren't considered.
    """
    if db.session.scalar(select(BootSource.id).where(BootSource.is_enabled).limit(1)) is None:
        return None
    last: datetime | None = db.session.scalar(
        select(func.max(func.coalesce(ImportRun.started_at, ImportRun.queued_at)))
    )
    if last is None:
        return now
    values = live_settings.read_all()
    zone = windows.parse_zone(str(values[TIME_ZONE]))
    every = schedules.Interval(timedelta(minutes=settings().import_interval))
    return (schedules.parse(str(values[SCHEDULE])) or every).next_after(last, zone)


def next_start(now: datetime) -> datetime | None:
    """When the next automatic import will start, in a window; None if none will."""
    due = due_at(now) if live_settings.is_auto_import() else None
    if due is None:
        return None
    start = max(due, now)
    state = pausing.window_state(start)
    return start if state.is_open else state.changes_at
