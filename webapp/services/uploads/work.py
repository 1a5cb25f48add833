# SPDX-License-Identifier: Apache-2.0
"""What the worker does with uploads: fetch those given by URL or path, finish all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import or_, select, update

from webapp.errors import NotFound, Problem
from webapp.extensions import db
from webapp.fetch import Stopped
from webapp.models import Upload, UploadState, utcnow
from webapp.services.system import statements
from webapp.services.uploads import arrival, checking, converting, fetching, finishing, uploads
from webapp.storage.leases import is_dead

LEASE = timedelta(seconds=60)
# The request that sent the last byte of a 2.0 upload finishes it; after this time it is dead.
PATIENCE = timedelta(seconds=60)
# Problems that trying again doesn't solve.
_FINAL = {
    "address-refused",
    "http-html",
    "http-status",
    "http-too-large",
    "invalid-fields",
    "size-mismatch",
    "upload-address",
    "upload-wrong-hash",
    "url-invalid",
}
_WORK = (UploadState.FETCHING, UploadState.CHECKING)

log = structlog.get_logger(__name__)


def work(owner: str, is_leaving: Callable[[], bool]) -> None:
    """Do everything that waits, one after the other."""
    while not is_leaving():
        upload = _claim(owner)
        if upload is None:
            break
        upload_id = upload.id
        try:
            _work_on(upload, owner, is_leaving)
        except checking.Interrupted:
            db.session.rollback()
            checking.release(upload_id, owner)
            return
    if not is_leaving():
        _inspect_published(is_leaving)


def _claim(owner: str) -> Upload | None:
    """The next upload to work on, held by us until LEASE after the last sign of life.

    One whose worker died on this machine is free at once.
    """
    now = utcnow()
    holders = db.session.scalars(
        select(Upload.claimed_by).where(Upload.state.in_(_WORK), Upload.claimed_by != "").distinct()
    )
    free = ["", *filter(is_dead, holders)]
    is_free = or_(Upload.claimed_by.in_(free), Upload.claimed_at < now - LEASE)
    is_due = or_(Upload.is_checked_first, Upload.touched_at < now - PATIENCE)
    waiting = (Upload.state.in_(_WORK), is_free, is_due)
    upload_id = db.session.scalar(select(Upload.id).where(*waiting).order_by(Upload.id).limit(1))
    if upload_id is None:
        db.session.rollback()
        return None
    taken = statements.count(
        update(Upload)
        .where(Upload.id == upload_id, *waiting)
        .values(claimed_by=owner, claimed_at=now)
    )
    db.session.commit()
    return db.session.get(Upload, upload_id, populate_existing=True) if taken else None


def _work_on(upload: Upload, owner: str, is_leaving: Callable[[], bool]) -> None:
    upload_id = upload.id
    try:
        if upload.state == UploadState.FETCHING:
            fetching.fetch(upload, owner, is_leaving)
            upload = uploads.find(upload_id)
            db.session.refresh(upload)
        if upload.state == UploadState.CHECKING:
            _check(upload, owner, is_leaving)
    except converting.NotConverted as problem:
        db.session.rollback()
        checking.reject_for(upload_id, problem, "not-converted")
    except Stopped:
        if is_leaving():
            raise checking.Interrupted from None
        db.session.rollback()
        log.info("an upload was discarded while it was fetched", upload=upload_id)
    except Problem as problem:
        db.session.rollback()
        log.warning("an upload could not be finished", upload=upload_id, problem=str(problem))
        _note_problem(upload_id, problem)


def _check(upload: Upload, owner: str, is_leaving: Callable[[], bool]) -> None:
    # A 2.0 upload is here when the request that sent its last byte was killed.
    if upload.is_checked_first or arrival.hand_over(upload):
        report = checking.inspect_fully(upload, owner, is_leaving)
        if report.verdict == "reject":
            checking.reject(upload.id, report)
            return
        upload.report = report.as_dict()
        db.session.commit()
        if converting.kind_of(report, upload.ftype) and checking.convert(upload, owner, is_leaving):
            db.session.refresh(upload)
            _check(upload, owner, is_leaving)
            return
    finishing.finish(upload)


def _inspect_published(is_leaving: Callable[[], bool]) -> None:
    """Inspect an upload of the 2.0 API after it was published; its findings are warnings."""
    row = db.session.scalar(
        select(Upload)
        .where(
            Upload.state == UploadState.DONE,
            Upload.is_checked_first.is_(False),
            Upload.checked == 0,
            Upload.size > 0,
        )
        .limit(1)
    )
    if row is None:
        db.session.rollback()
        return
    try:
        checking.inspect_afterwards(row, is_leaving)
    except checking.Interrupted:
        db.session.rollback()


def _note_problem(upload_id: int, problem: Problem) -> None:
    """Record the problem. After the lease it's tried again, unless the file or URL is wrong."""
    try:
        upload = uploads.find(upload_id)
    except NotFound:
        return  # deleted meanwhile
    is_sent = upload.origin not in fetching.ORIGINS
    upload.problem, upload.claimed_at = problem.as_dict(), utcnow()
    if upload.state == UploadState.RECEIVING and is_sent:
        upload.claimed_by = ""  # the client sends it again
    elif upload.state == UploadState.RECEIVING or problem.code in _FINAL:
        upload.state, upload.claimed_by = UploadState.FAILED, ""
        upload.finished_at = utcnow()
    db.session.commit()
