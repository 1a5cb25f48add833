# SPDX-License-Identifier: Apache-2.0
"""Try again now: a running import waits no longer before its retries, else one is queued."""

from __future__ import annotations

from sqlalchemy import update

from webapp.extensions import db
from webapp.models import ImportRun, RunState
from webapp.services.imports import queueing, runs
from webapp.services.system import events, statements
from webapp.services.system.wake import wake


def try_again(actor: str) -> ImportRun:
    """The import that tries again: the running one, within a second or two, or a queued one.

    A running one of some sources or images stays what it is.
    """
    run_id = statements.execute(
        update(ImportRun)
        .where(ImportRun.state == RunState.RUNNING, ImportRun.is_cancelled.is_(False))
        .values(retry_asked_at=runs.now())
        .returning(ImportRun.id)
    ).scalar_one_or_none()
    if run_id is None:
        return runs.queue("manual", actor)
    queueing.attend(run_id)
    events.record("run.retry_requested", actor=actor, subject="import")
    db.session.commit()
    wake()
    return db.session.get_one(ImportRun, run_id, populate_existing=True)
