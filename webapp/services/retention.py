# SPDX-License-Identifier: Apache-2.0
"""Free what nobody gets any more, and make tables and store agree.

Rows say what there is; the store only has bytes. A blob is deleted in three
steps, each of which may be the last one that a process takes:

1. its row becomes ``deleting``, under a lock, and only while nothing names it;
2. the bytes are deleted;
3. the row is deleted.

An import that wants these bytes waits for step 3 and then fetches them. So there
is never a published name without bytes, and bytes without a row are only those
of a database that lost its last moments: they get a row again and, if no import
wants them, are deleted in their time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, exists, func, or_, select, update

from webapp.errors import NotFound, Problem
from webapp.extensions import db, settings, store
from webapp.models import (
    ACTIVE_STATES,
    OPEN_UPLOADS,
    Blob,
    BootResource,
    FileTransfer,
    ImportRun,
    ResourceFile,
    ResourceSet,
    Upload,
    utcnow,
)
from webapp.services import events, publishing, rows
from webapp.services.plans import Key
from webapp.services.previewing import delete_preview as delete_preview
from webapp.storage.errors import BlobBusy

DELETING = "deleting"
STRAY = "stray"  # bytes that were found without a row; not verified
# Racks may still know a version for a moment after its grace time.
MARGIN = timedelta(seconds=5)
# A deletion that was begun so long ago has lost its process.
ABANDONED = timedelta(seconds=60)
# Bytes of images that never became whole, and unfinished files: an import may want them yet.
UNUSED = timedelta(days=7)

_BLOB = (Blob.id, Blob.sha256, Blob.size)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Freed:
    """What a clean-up removed."""

    sets: int = 0
    blobs: int = 0
    bytes: int = 0


def clean_up() -> Freed:
    """Delete versions whose grace time is over, and the bytes that only they named."""
    now = utcnow()
    cutoff = now - timedelta(seconds=settings().retire_grace) - MARGIN
    is_over = (
        ResourceSet.retired_at < cutoff,
        ~exists().where(BootResource.current_set_id == ResourceSet.id),
    )
    candidates = set(
        db.session.scalars(
            select(ResourceFile.blob_id)
            .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
            .where(*is_over)
        )
    )
    sets = rows.count(delete(ResourceSet).where(*is_over)) if candidates else 0
    if sets or _has_empty_resources(cutoff):
        rows.execute(delete(BootResource).where(*_is_empty(cutoff)))
    candidates |= set(db.session.scalars(_unused(now)))
    marked = _mark(sorted(candidates))
    if sets:
        events.record("image.freed", actor="worker", versions=sets, files=len(marked))
    db.session.commit()
    freed = sum(_finish(blob) for blob in marked)
    finish_deletions()
    if marked:
        log.info("bytes freed", files=len(marked), bytes=freed)
    return Freed(sets, len(marked), freed)


def finish_deletions() -> int:
    """Finish deletions whose process died; returns how many."""
    abandoned = db.session.execute(
        select(*_BLOB).where(Blob.state == DELETING, Blob.verified_at < utcnow() - ABANDONED)
    ).all()
    db.session.commit()
    for blob in abandoned:
        _finish(blob)
    return len(abandoned)


def check_store() -> None:
    """Make rows and bytes agree: at start and once in a while, since it lists the store."""
    there = set(store().digests())
    known = {row.sha256: row for row in db.session.execute(select(Blob.sha256, Blob.state))}
    db.session.commit()
    # A look of its own, for what came or went while the store was listed.
    lost = [
        sha256
        for sha256, row in known.items()
        if row.state == "ready" and sha256 not in there and store().stat(sha256) is None
    ]
    if lost:
        _note_lost(lost)
    for sha256 in there - known.keys():
        found = store().stat(sha256)
        if found is not None:
            _adopt(sha256, found.size)
    _drop_old_partials()


def delete_resources(resource_ids: Sequence[int], actor: str) -> None:
    """Take images away from machines at once, whatever their kind, all or none.

    Their bytes are freed after the grace time. A selection that still asks for one
    brings it back with the next import: see ``delete_preview``. Raises NotFound.
    """
    found = db.session.execute(
        select(BootResource.id, BootResource.name, BootResource.architecture)
        .where(BootResource.id.in_(resource_ids), BootResource.current_set_id.is_not(None))
        .order_by(BootResource.id)
    ).all()
    missing = set(resource_ids) - {row.id for row in found}
    if missing:
        raise NotFound(
            "There is no such boot resource.",
            where=f"boot resource {min(missing)}",
            next_step="Look at the list of images; it may have been removed.",
        )
    publishing.retire(
        [(row.id, Key(row.name, row.architecture), "deleted on request") for row in found],
        actor=actor,
    )
    db.session.commit()


# -- deleting bytes


def _mark(blob_ids: Sequence[int]) -> list[Any]:
    """Step 1 for all of these that nothing names; the caller commits."""
    marked: list[Any] = []
    for start in range(0, len(blob_ids), rows.CHUNK):
        chunk = blob_ids[start : start + rows.CHUNK]
        # Lock first, in the order that everybody takes, and look afterwards: an
        # import that locked them before us has committed by then what it names.
        locked = set(
            db.session.scalars(
                select(Blob.id)
                .where(Blob.id.in_(chunk), Blob.state != DELETING)
                .order_by(Blob.sha256)
                .with_for_update()
            )
        )
        free = (Blob.id.in_(locked), ~_is_named(), ~_is_reserved())
        rows.execute(update(Blob).where(*free).values(state=DELETING, verified_at=utcnow()))
        marked += db.session.execute(
            select(*_BLOB).where(Blob.id.in_(locked), Blob.state == DELETING)
        ).all()
    return marked


def _finish(blob: Any) -> int:
    """Steps 2 and 3; returns how many bytes that was."""
    store().delete(blob.sha256)
    gone = rows.count(delete(Blob).where(Blob.id == blob.id, Blob.state == DELETING))
    db.session.commit()
    return int(blob.size) if gone else 0


def _is_named() -> Any:
    return exists().where(ResourceFile.blob_id == Blob.id)


def _is_reserved(since: datetime | None = None) -> Any:
    """Whether an active run wants the blob, or any run that was queued since then."""
    is_relevant: Any = ImportRun.state.in_(ACTIVE_STATES)
    if since is not None:
        is_relevant = or_(is_relevant, ImportRun.queued_at > since)
    return exists().where(
        FileTransfer.blob_id == Blob.id, FileTransfer.run_id == ImportRun.id, is_relevant
    )


def _unused(now: datetime) -> Any:
    """Blobs that no image names and no import has wanted for a long time."""
    since = now - UNUSED
    age = func.coalesce(Blob.verified_at, Blob.created_at)
    return select(Blob.id).where(
        Blob.state.in_(("ready", "bad", STRAY)), age < since, ~_is_named(), ~_is_reserved(since)
    )


def _is_empty(cutoff: datetime) -> tuple[Any, ...]:
    """Resources without any version; new ones may be waiting for their first."""
    return (
        BootResource.current_set_id.is_(None),
        BootResource.updated_at < cutoff,
        ~exists().where(ResourceSet.resource_id == BootResource.id),
        ~exists().where(Upload.resource_id == BootResource.id, Upload.state.in_(OPEN_UPLOADS)),
    )


def _has_empty_resources(cutoff: datetime) -> bool:
    query = select(BootResource.id).where(*_is_empty(cutoff)).limit(1)
    return db.session.scalar(query) is not None


# -- tables and store


def _note_lost(digests: Sequence[str]) -> None:
    """Ready rows without bytes: not served any more, and wanted again by the next import."""
    for start in range(0, len(digests), rows.CHUNK):
        chunk = digests[start : start + rows.CHUNK]
        rows.execute(
            update(Blob)
            .where(Blob.sha256.in_(chunk), Blob.state == "ready")
            .values(state="wanted", verified_at=None)
        )
    events.record("blob.missing", actor="worker", count=len(digests), digests=list(digests[:50]))
    publishing.bump()
    db.session.commit()
    log.error("bytes are missing from the store", count=len(digests), digests=digests[:5])


def _adopt(sha256: str, size: int) -> None:
    """Give bytes without a row one: they can be used once verified, and are freed in time."""
    db.session.execute(rows.insert_new(Blob), {"sha256": sha256, "size": size, "state": STRAY})
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
