# SPDX-License-Identifier: Apache-2.0
"""Bytes found bad: the one place that every finder of damage reports to.

A bad blob is not served, and the next import or upload replaces it. The verdict and
the publication's new serial are one transaction, so no process serves it for long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import ColumnElement, Connection, insert, update

from webapp.models import Blob, BlobFault, BlobState, Event, utcnow
from webapp.publication import raise_serial
from webapp.storage.base import BlobReader, BlobStat, BlobStore, hash_of
from webapp.storage.errors import BlobMissing, StoreProblem

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verified:
    """What is known of a ready blob: its file's mtime when it was last hashed, and since when.

    verified_at distinguishes this copy from an earlier one with the same digest.
    """

    sha256: str
    size: int
    mtime_ns: int | None
    verified_at: datetime | None


def fault_of(
    known: Verified,
    found: BlobStat | None,
    store: BlobStore,
    hashed: Callable[[BlobReader], str] = hash_of,
) -> BlobFault | None:
    """What is wrong with a blob, as far as its size and mtime tell.

    Where the mtime differs from the one that was recorded, the bytes are hashed.
    """
    if found is None:
        return BlobFault.MISSING
    if found.size != known.size:
        return BlobFault.SIZE
    if known.mtime_ns is None or found.mtime_ns == known.mtime_ns:
        return None
    return hashed_fault(known, store, hashed)


def hashed_fault(
    known: Verified, store: BlobStore, hashed: Callable[[BlobReader], str] = hash_of
) -> BlobFault | None:
    """What is wrong with a blob; reads every byte."""
    try:
        with store.open(known.sha256) as reader:
            if reader.size != known.size:
                return BlobFault.SIZE
            return None if hashed(reader) == known.sha256 else BlobFault.CONTENT
    except BlobMissing:
        return BlobFault.MISSING
    except StoreProblem:
        store.stat(known.sha256)  # raises when the store itself is what can't be read
        return BlobFault.UNREADABLE


def mark_bad(connection: Connection, known: Verified, fault: BlobFault, found_by: str) -> bool:
    """Stop serving a blob; the caller commits.

    Returns False when it was replaced or deleted since ``known`` was read.
    found_by: who noticed, e.g. ``rack`` or ``scrub``.
    """
    marked = connection.execute(
        update(Blob).where(*_is_still(known)).values(state=BlobState.BAD, fault=fault)
    ).rowcount
    if not marked:
        return False
    raise_serial(connection)
    connection.execute(
        insert(Event).values(
            at=utcnow(),
            kind="blob.damaged",
            actor=found_by,
            subject=known.sha256,
            detail={"fault": str(fault), "bytes": known.size},
        )
    )
    log.error("stored bytes are damaged", sha256=known.sha256, fault=str(fault), by=found_by)
    return True


def mark_checked(connection: Connection, known: Verified, mtime_ns: int | None) -> None:
    """Note that a blob was hashed and is right; the caller commits."""
    checked = connection.execute(
        update(Blob).where(*_is_still(known)).values(checked_at=utcnow(), mtime_ns=mtime_ns)
    ).rowcount
    if checked and mtime_ns != known.mtime_ns:
        raise_serial(connection)  # racks compare with the recorded mtime


def _is_still(known: Verified) -> tuple[ColumnElement[bool], ...]:
    """Whether a row is ready and about the same copy of the bytes; None compares as IS NULL."""
    return (
        Blob.sha256 == known.sha256,
        Blob.state == BlobState.READY,
        Blob.verified_at == known.verified_at,
    )
