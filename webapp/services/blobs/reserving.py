# SPDX-License-Identifier: Apache-2.0
"""Write down which bytes are needed, so that clean-up leaves them alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select, update

from webapp.errors import Conflict
from webapp.extensions import db, store
from webapp.models import Blob, BlobState, utcnow
from webapp.services.blobs import deletion
from webapp.services.images import publishing
from webapp.services.system import events, statements

_PAUSE_S = 0.2
_PATIENCE_S = 150.0  # longer than a deletion is abandoned after


def reserve(sizes: Mapping[str, int], renew: Callable[[], object] = lambda: None) -> list[Any]:
    """Give every digest a row, and lock the rows until the caller commits.

    sizes: bytes by sha256. Returns (id, sha256, size, state) rows, ordered by digest.
    Waits while one of them is being deleted, and finishes that when its process died.

    renew: called before each attempt; what it raises ends the wait.
    Raises Conflict when a deletion takes too long.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        renew()
        _add_missing(sizes)
        found = _locked(sorted(sizes))
        if all(row.state != BlobState.DELETING for row in found):
            return found
        db.session.rollback()
        if time.monotonic() > until:
            raise Conflict("The same file is being deleted.", next_step="Try again in a minute.")
        time.sleep(_PAUSE_S)
        deletion.finish_deletions()


def reserve_one(sha256: str, size: int) -> int:
    """Reserve the bytes of one digest and commit; returns the id of its row."""
    [row] = reserve({sha256: size})
    if row.size != size:
        statements.execute(
            update(Blob).where(Blob.id == row.id, Blob.state != BlobState.READY).values(size=size)
        )
    db.session.commit()
    return int(row.id)


def mark_ready(sha256: str) -> None:
    """Note that bytes are whole and verified, and commit."""
    set_ready(sha256)
    db.session.commit()


def set_ready(sha256: str) -> None:
    """Note that bytes are whole and were just verified; the caller commits.

    Where they replace bad ones, machines get them again at once.
    """
    found, now = store().stat(sha256), utcnow()
    healed = statements.count(
        update(Blob).where(Blob.sha256 == sha256, Blob.state == BlobState.BAD).values(fault="")
    )
    statements.execute(
        update(Blob)
        .where(Blob.sha256 == sha256, Blob.state != BlobState.DELETING)
        .values(
            state=BlobState.READY,
            verified_at=now,
            checked_at=now,
            mtime_ns=found.mtime_ns if found else None,
        )
    )
    if healed:
        publishing.bump()
        events.record("blob.healed", actor="worker", subject=sha256)


def _add_missing(sizes: Mapping[str, int]) -> None:
    new = [{"sha256": sha256, "size": size} for sha256, size in sizes.items()]
    if new:
        db.session.execute(statements.insert_new(Blob), new)


def _locked(ordered: list[str]) -> list[Any]:
    """The rows of these blobs, locked in the order that everyone uses."""
    columns = (Blob.id, Blob.sha256, Blob.size, Blob.state)
    found: list[Any] = []
    for start in range(0, len(ordered), statements.CHUNK):
        chunk = ordered[start : start + statements.CHUNK]
        query = select(*columns).where(Blob.sha256.in_(chunk)).order_by(Blob.sha256)
        found += db.session.execute(query.with_for_update()).all()
    return found
