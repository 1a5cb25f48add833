# SPDX-License-Identifier: Apache-2.0
"""Delete bytes that nothing names, in three steps that may each be a process's last.

1. the blob's row becomes ``deleting``, under a lock, and only while nothing names it;
2. the bytes are deleted;
3. the row is deleted.

Whoever wants these bytes waits for step 3 and then fetches them. So a published name
always has its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update

from webapp.extensions import db, store
from webapp.models import Blob, BlobState, utcnow
from webapp.services.system import statements

# A deletion that started this long ago has lost its process.
ABANDONED = timedelta(seconds=60)

_BLOB = (Blob.id, Blob.sha256, Blob.size)


def mark(blob_ids: Sequence[int], *is_free: ColumnElement[bool]) -> list[Any]:
    """Step 1 for those of these that meet every condition; returns them. The caller commits."""
    marked: list[Any] = []
    for start in range(0, len(blob_ids), statements.CHUNK):
        chunk = blob_ids[start : start + statements.CHUNK]
        # Lock first, in the order that everyone uses, and check afterwards: by then an
        # import that locked them before us has committed what it names.
        locked = set(
            db.session.scalars(
                select(Blob.id)
                .where(Blob.id.in_(chunk), Blob.state != BlobState.DELETING)
                .order_by(Blob.sha256)
                .with_for_update()
            )
        )
        free = (Blob.id.in_(locked), *is_free)
        statements.execute(
            update(Blob).where(*free).values(state=BlobState.DELETING, verified_at=utcnow())
        )
        marked += db.session.execute(
            select(*_BLOB).where(Blob.id.in_(locked), Blob.state == BlobState.DELETING)
        ).all()
    return marked


def finish(blob: Any) -> int:
    """Steps 2 and 3; returns the number of bytes freed."""
    store().delete(blob.sha256)
    gone = statements.count(
        delete(Blob).where(Blob.id == blob.id, Blob.state == BlobState.DELETING)
    )
    db.session.commit()
    return int(blob.size) if gone else 0


def finish_deletions() -> int:
    """Finish deletions whose process died; returns their number."""
    abandoned = db.session.execute(
        select(*_BLOB).where(
            Blob.state == BlobState.DELETING, Blob.verified_at < utcnow() - ABANDONED
        )
    ).all()
    db.session.commit()
    for blob in abandoned:
        finish(blob)
    return len(abandoned)
