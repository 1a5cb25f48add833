# SPDX-License-Identifier: Apache-2.0
"""Free what machines no longer get: versions past their grace time, and bytes nothing names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from webapp.errors import NotFound
from webapp.extensions import db, settings
from webapp.models import (
    ACTIVE_STATES,
    OPEN_UPLOADS,
    Blob,
    BlobState,
    BootResource,
    FileTransfer,
    ImportRun,
    PackageList,
    ResourceFile,
    ResourceSet,
    Upload,
    utcnow,
)
from webapp.services.blobs import deletion
from webapp.services.images import expiring, locks, publishing
from webapp.services.images.keys import Key
from webapp.services.system import events, statements

# Racks may still know a version for a moment after its grace time.
MARGIN = timedelta(seconds=5)
# Bytes of images that never became whole, and unfinished files: an import may want them yet.
UNUSED = timedelta(days=7)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Freed:
    """What a clean-up removed."""

    sets: int = 0
    blobs: int = 0
    bytes: int = 0


def clean_up() -> Freed:
    """Delete versions whose grace time is over, and the bytes that only they named.

    A locked version stays, and so does one that a machine fetched within the grace time
    or whose image is in the bin.
    """
    expiring.retire_surplus()
    db.session.commit()
    now = utcnow()
    cutoff = now - timedelta(seconds=settings().retire_grace) - MARGIN
    is_over = (
        ResourceSet.retired_at < cutoff,
        or_(ResourceSet.fetched_at.is_(None), ResourceSet.fetched_at < cutoff),
        ResourceSet.locked_at.is_(None),
        ~exists().where(BootResource.current_set_id == ResourceSet.id),
        ~_is_in_bin(now),
    )
    candidates = set(
        db.session.scalars(
            select(ResourceFile.blob_id)
            .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
            .where(*is_over)
        )
    )
    sets = _delete_sets(is_over) if candidates else 0
    if sets or _has_empty_resources(cutoff):
        statements.execute(delete(BootResource).where(*_is_empty(cutoff)))
    # An import locks blobs before images, so these locks end before blobs are marked.
    db.session.commit()
    statements.execute(delete(PackageList).where(*_is_unused_list(cutoff)))
    candidates |= set(db.session.scalars(_unused(now)))
    marked = deletion.mark(sorted(candidates), ~_is_named(), ~_is_reserved())
    if sets:
        events.record("image.freed", actor="worker", versions=sets, files=len(marked))
    db.session.commit()
    freed = sum(deletion.finish(blob) for blob in marked)
    deletion.finish_deletions()
    if marked:
        log.info("bytes freed", files=len(marked), bytes=freed)
    return Freed(sets, len(marked), freed)


def _delete_sets(is_over: Collection[ColumnElement[bool]]) -> int:
    """Delete versions, each while its image's row is locked, as by whoever publishes it."""
    images = db.session.scalars(
        select(BootResource.id)
        .where(BootResource.id.in_(select(ResourceSet.resource_id).where(*is_over)))
        .order_by(BootResource.id)
        .limit(statements.CHUNK)
        .with_for_update(skip_locked=True)
    ).all()
    return statements.count(
        delete(ResourceSet).where(ResourceSet.resource_id.in_(images), *is_over)
    )


def delete_resources(resource_ids: Sequence[int], actor: str) -> None:
    """Take images away from machines at once, whatever their kind, all or none.

    They go to the bin, which frees their bytes in the end. A selection that still asks for one
    brings it back with the next import: see ``delete_preview``. Raises NotFound, Locked.
    """
    locks.demand_none(resource_ids)
    found = db.session.execute(
        select(BootResource.id, BootResource.name, BootResource.architecture)
        .where(BootResource.id.in_(resource_ids), BootResource.current_set_id.is_not(None))
        .order_by(BootResource.id)
    ).all()
    missing = set(resource_ids) - {row.id for row in found}
    if missing:
        raise NotFound(
            "Boot resource not found.",
            where=f"boot resource {min(missing)}",
            next_step="It may have been removed. See the list of images.",
        )
    publishing.retire(
        [(row.id, Key(row.name, row.architecture), "deleted on request") for row in found],
        actor=actor,
    )
    db.session.commit()


def _is_unused_list(cutoff: datetime) -> tuple[Any, ...]:
    """Package lists of versions that are gone."""
    return (
        PackageList.stored_at < cutoff,
        ~exists().where(ResourceSet.packages_sha256 == PackageList.sha256),
    )


def _is_in_bin(now: datetime) -> Any:
    """Whether a version went into the bin with its image, and the bin still keeps it."""
    since = now - timedelta(hours=settings().bin_hours)
    return and_(
        ResourceSet.is_binned,
        exists().where(BootResource.id == ResourceSet.resource_id, BootResource.binned_at > since),
    )


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
        Blob.state.in_((BlobState.READY, BlobState.BAD, BlobState.STRAY)),
        age < since,
        ~_is_named(),
        ~_is_reserved(since),
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
