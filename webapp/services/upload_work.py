# SPDX-License-Identifier: Apache-2.0
"""What the worker does with uploads: get those that are named by address or path, finish all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import or_, select, update

from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import Upload, UploadState, utcnow
from webapp.services import finishing, rows

LEASE = timedelta(seconds=60)
# Whoever sent the last byte of a 2.0 upload finishes it; who does not come back by then is dead.
PATIENCE = timedelta(seconds=60)

log = structlog.get_logger(__name__)


def work(owner: str, is_leaving: Callable[[], bool]) -> None:
    """Finish everything that waits for it, one after the other."""
    while not is_leaving():
        upload = _claim(owner)
        if upload is None:
            return
        _finish(upload)


def _claim(owner: str) -> Upload | None:
    """The next upload to work on, held by us until LEASE after the last sign of life."""
    now = utcnow()
    is_free = or_(Upload.claimed_by == "", Upload.claimed_at < now - LEASE)
    is_due = or_(Upload.is_checked_first, Upload.touched_at < now - PATIENCE)
    upload_id = db.session.scalar(
        select(Upload.id)
        .where(Upload.state == UploadState.CHECKING, is_free, is_due)
        .order_by(Upload.id)
        .limit(1)
    )
    if upload_id is None:
        db.session.rollback()
        return None
    taken = rows.count(
        update(Upload)
        .where(Upload.id == upload_id, Upload.state == UploadState.CHECKING, is_free)
        .values(claimed_by=owner, claimed_at=now)
    )
    db.session.commit()
    return db.session.get(Upload, upload_id, populate_existing=True) if taken else None


def _finish(upload: Upload) -> None:
    upload_id = upload.id
    try:
        finishing.finish(upload)
    except Problem as problem:
        db.session.rollback()
        log.warning("an upload could not be finished", upload=upload_id, problem=str(problem))
        _give_back(upload_id, problem)


def _give_back(upload_id: int, problem: Problem) -> None:
    """Note why; it is tried again after the lease, unless its bytes have to be sent again."""
    rows.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.state != UploadState.DONE)
        .values(problem=problem.as_dict(), claimed_at=utcnow())
    )
    rows.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.state == UploadState.RECEIVING)
        .values(claimed_by="", claimed_at=None)
    )
    db.session.commit()
