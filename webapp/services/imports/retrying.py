# SPDX-License-Identifier: Apache-2.0
"""Try again now: a running import waits no longer before its retries, else one is queued."""

from __future__ import annotations

from sqlalchemy import update

from webapp.extensions import db
from webapp.models import ImportRun, RunState
from webapp.services.imports import runs
from webapp.services.system import events, statements


def try_again(actor: str) -> ImportRun:
    """The import that tries again: the running one, within a second or two, or a queued one."""
    asked = statements.count(
        update(ImportRun)
        .where(ImportRun.state == RunState.RUNNING, ImportRun.is_cancelled.is_(False))
        .values(retry_asked_at=runs.now())
    )
    if asked:
        events.record("run.retry_requested", actor=actor, subject="import")
    db.session.commit()
    return runs.queue("manual", actor)
