# SPDX-License-Identifier: Apache-2.0
"""Regular upkeep: start the automatic import, free space, delete old history, check the store."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, delete, func, select, true

from webapp.errors import Problem
from webapp.extensions import db, settings
from webapp.models import DayTraffic, Event, ImportRun
from webapp.services.blobs import checking, retention
from webapp.services.imports import pausing, queueing, runs, scheduling
from webapp.services.overview import clock
from webapp.services.system import live_settings, reserve, statements
from webapp.services.system.live_settings import AUTO_IMPORT
from webapp.services.uploads import uploads

log = structlog.get_logger(__name__)

EVENT_BATCH = 5000  # rows deleted in one transaction
RUN_BATCH = 20  # a run may have thousands of files
NOISY_EVENTS = (
    *("image.fetched", "image.refused", "image.unavailable", "mirror.read"),
    "access.refused",
)


def reconcile(trigger: str = "schedule", *, is_thorough: bool = False) -> None:
    """Bring the tables in order: called when a worker starts and every minute. Safe to repeat.

    is_thorough: also list the store and compare it with the tables. A run whose
    worker is gone needs nothing here, since ``runs.claim`` takes it over.
    """
    steps = (checking.check_store, uploads.expire) if is_thorough else ()
    for step in (clock.settle, *steps, retention.clean_up, _delete_history, reserve.keep):
        try:
            step()
        except Problem as problem:
            # E.g. a store that cannot be reached: the import reports it to users.
            db.session.rollback()
            log.error("upkeep is incomplete", step=step.__name__, **problem.as_dict())
    queue_if_due(trigger)


def queue_if_due(trigger: str = "schedule") -> ImportRun | None:
    """Queue the automatic import once it's due (rule: hourly-import)."""
    if db.session.scalar(queueing.wanted()) is not None:
        return None  # a run longer than the interval may finish (rule: hourly-import)
    now = runs.now()
    due = scheduling.due(now)
    if due.first is None or due.first > now:
        return None
    if not pausing.window_state(now).is_open:
        return None  # it is due again at every tick, so it starts when the window opens
    if live_settings.is_auto_import():
        cause, source_ids = due.by(now)
        return runs.queue(trigger if cause == "schedule" else cause, "schedule", source_ids)
    write = log.info if trigger == "start" else log.debug
    write("the automatic import is off", setting=AUTO_IMPORT)
    return None


def _delete_history() -> None:
    cutoff = runs.now() - timedelta(days=settings().event_days)
    old_events = _delete_events(Event.at < cutoff, None)
    over = (db.session.scalar(select(func.count()).select_from(Event)) or 0) - (
        settings().event_rows
    )
    if over > 0:
        # Events that machines and strangers cause can't push out those of users.
        gone = _delete_events(Event.kind.in_(NOISY_EVENTS), over)
        old_events += gone + _delete_events(true(), over - gone)
    statements.execute(delete(DayTraffic).where(DayTraffic.day < cutoff.date()))
    db.session.commit()
    old_runs = _delete_runs(runs.now() - timedelta(days=settings().run_days))
    if old_events or old_runs:
        log.info("history deleted", events=old_events, runs=old_runs)


def _delete_runs(cutoff: datetime) -> int:
    """Delete runs that ended before, with their files and failures, in short transactions."""
    gone = 0
    while True:
        batch = select(ImportRun.id).where(ImportRun.finished_at < cutoff).limit(RUN_BATCH)
        ids = list(db.session.scalars(batch.order_by(ImportRun.id)))
        if not ids:
            return gone
        gone += statements.count(delete(ImportRun).where(ImportRun.id.in_(ids)))
        db.session.commit()


def _delete_events(which: ColumnElement[bool], most: int | None) -> int:
    """Delete these events, the oldest first, in short transactions; returns how many."""
    gone = 0
    while most is None or gone < most:
        size = EVENT_BATCH if most is None else min(EVENT_BATCH, most - gone)
        batch = select(Event.id).where(which).order_by(Event.id).limit(size)
        count = statements.count(delete(Event).where(Event.id.in_(batch.scalar_subquery())))
        db.session.commit()
        gone += count
        if count < size:
            break
    return gone
