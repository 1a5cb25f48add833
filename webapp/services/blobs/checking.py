# SPDX-License-Identifier: Apache-2.0
"""Make tables and store agree: rows say what there is; the store only has bytes.

Bytes without a row are those of a database that lost its last moments. They get a row
again and, if no import wants them, are deleted in their time.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy import select, update

from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import ACTIVE_STATES, Blob, BlobState, FileTransfer, ImportRun, utcnow
from webapp.services.blobs.retention import UNUSED
from webapp.services.images import publishing
from webapp.services.system import events, statements
from webapp.storage.errors import BlobBusy

log = structlog.get_logger(__name__)


def check_store() -> None:
    """Make rows and bytes agree: at start and once in a while, since it lists the store."""
    there = set(store().digests())
    known = {row.sha256: row for row in db.session.execute(select(Blob.sha256, Blob.state))}
    db.session.commit()
    # A look of its own, for what came or went while the store was listed.
    lost = [
        sha256
        for sha256, row in known.items()
        if row.state == BlobState.READY and sha256 not in there and store().stat(sha256) is None
    ]
    if lost:
        _note_lost(lost)
    for sha256 in there - known.keys():
        found = store().stat(sha256)
        if found is not None:
            _adopt(sha256, found.size)
    _drop_old_partials()


def _note_lost(digests: Sequence[str]) -> None:
    """Ready rows without bytes: not served any more, and wanted again by the next import."""
    for start in range(0, len(digests), statements.CHUNK):
        chunk = digests[start : start + statements.CHUNK]
        statements.execute(
            update(Blob)
            .where(Blob.sha256.in_(chunk), Blob.state == BlobState.READY)
            .values(state=BlobState.WANTED, verified_at=None)
        )
    events.record("blob.missing", actor="worker", count=len(digests), digests=list(digests[:50]))
    publishing.bump()
    db.session.commit()
    log.error("bytes are missing from the store", count=len(digests), digests=digests[:5])


def _adopt(sha256: str, size: int) -> None:
    """Give bytes without a row one: they can be used once verified, and are freed in time."""
    db.session.execute(
        statements.insert_new(Blob), {"sha256": sha256, "size": size, "state": BlobState.STRAY}
    )
    db.session.commit()


def _drop_old_partials() -> None:
    """Remove unfinished files that no import went on with for a long time."""
    since = utcnow() - UNUSED
    old = [partial.sha256 for partial in store().partials() if partial.touched_at < since]
    if not old:
        return
    wanted = select(FileTransfer.sha256).join(ImportRun).where(ImportRun.state.in_(ACTIVE_STATES))
    kept = set(db.session.scalars(wanted))
    db.session.commit()
    for sha256 in old:
        if sha256 in kept:
            continue
        try:
            store().drop_partial(sha256)
        except BlobBusy:
            continue
        except Problem as problem:
            log.warning("an old unfinished file stays", sha256=sha256, problem=str(problem))
