# SPDX-License-Identifier: Apache-2.0
"""Make tables and store agree: rows say what there is; the store only has bytes.

Bytes without a row are those of a database that lost its last moments. They get a row
again and, if no import wants them, are deleted in their time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy import ColumnElement, select, update

from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import (
    ACTIVE_STATES,
    Blob,
    BlobFault,
    BlobState,
    FileTransfer,
    ImportRun,
    utcnow,
)
from webapp.services.blobs import damage
from webapp.services.blobs.damage import Verified
from webapp.services.blobs.retention import UNUSED
from webapp.services.system import statements
from webapp.storage.base import BlobStat
from webapp.storage.errors import BlobBusy

log = structlog.get_logger(__name__)


def check_store() -> None:
    """Make rows and bytes agree: at start and every hour, since it lists the store.

    Sizes and presence are judged here; a file whose mtime changed is hashed by the
    scrub, before all others.
    """
    there = {found.sha256: found for found in store().stats()}
    known = known_blobs()
    db.session.commit()
    changed = [blob.sha256 for blob in known if not _is_as_recorded(blob, there)]
    _scrub_first(changed)
    named = set(db.session.scalars(select(Blob.sha256)))
    db.session.commit()
    for sha256 in there.keys() - named:
        found = store().stat(sha256)
        if found is not None:
            _adopt(sha256, found.size)
    _drop_old_partials()
    store().sweep()


def known_blobs(*conditions: ColumnElement[bool]) -> list[Verified]:
    """The ready blobs that meet every condition, as they were verified."""
    columns = (Blob.sha256, Blob.size, Blob.mtime_ns, Blob.verified_at)
    query = select(*columns).where(Blob.state == BlobState.READY, *conditions)
    return [Verified(*row) for row in db.session.execute(query)]


def note_fault(blob: Verified, fault: BlobFault, found_by: str) -> None:
    """Mark a blob bad and commit."""
    damage.mark_bad(db.session.connection(), blob, fault, found_by)
    db.session.commit()


def note_good(blob: Verified, mtime_ns: int | None) -> None:
    """Note that a blob was hashed and is right, and commit."""
    damage.mark_checked(db.session.connection(), blob, mtime_ns)
    db.session.commit()


def _is_as_recorded(blob: Verified, there: Mapping[str, BlobStat]) -> bool:
    """Whether a blob has its size and mtime; one that is missing or resized is marked bad."""
    found = there.get(blob.sha256)
    if found is None or found.size != blob.size:
        # A second look, for what came or went while the store was listed.
        fault = damage.fault_of(blob, store().stat(blob.sha256), store())
        if fault is not None:
            note_fault(blob, fault, "worker")
        return True
    return found.mtime_ns == blob.mtime_ns


def _scrub_first(digests: Sequence[str]) -> None:
    """Have the scrub hash these before all others."""
    for start in range(0, len(digests), statements.CHUNK):
        chunk = digests[start : start + statements.CHUNK]
        statements.execute(
            update(Blob)
            .where(Blob.sha256.in_(chunk), Blob.checked_at.is_not(None))
            .values(checked_at=None)
        )
    db.session.commit()


def _adopt(sha256: str, size: int) -> None:
    """Give bytes without a row one: they can be used once verified, and are freed in time."""
    db.session.execute(
        statements.insert_new(Blob), {"sha256": sha256, "size": size, "state": BlobState.STRAY}
    )
    db.session.commit()


def _drop_old_partials() -> None:
    """Remove unfinished files that no import went on with (rule: stopped-downloads-stay)."""
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
