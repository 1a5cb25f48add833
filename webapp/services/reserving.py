# SPDX-License-Identifier: Apache-2.0
"""Write down which bytes a run needs, so that clean-up leaves them alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import select, update

from webapp.extensions import db
from webapp.models import Blob, BootSource, FileTransfer, TransferState, utcnow
from webapp.services import events, publishing, retention, rows
from webapp.services.plans import PlannedBlob
from webapp.services.progress import Transfer

_PAUSE_S = 0.2


def reserve(
    run_id: int, blobs: Sequence[PlannedBlob], hold: Callable[[], None]
) -> list[Transfer] | None:
    """Give every blob a row and the run a file transfer for it, in one transaction.

    None when some of the bytes are just being deleted: wait and ask again.
    """
    hold()
    by_digest = {blob.sha256: blob for blob in blobs}
    _add_missing(blobs)
    blob_rows = _locked(list(by_digest))
    if any(row.state == retention.DELETING for row in blob_rows):
        db.session.rollback()
        return None
    _correct(blob_rows, by_digest)
    ids = {row.sha256: row.id for row in blob_rows}
    known = {
        row.sha256: row
        for row in db.session.scalars(select(FileTransfer).where(FileTransfer.run_id == run_id))
    }
    kept = _existing_sources({blob.locations[0].source_id for blob in blobs})
    for blob in blobs:
        transfer = known.get(blob.sha256)
        if transfer is None:
            transfer = known[blob.sha256] = _new_transfer(run_id, blob)
        elif not blob.is_ready:
            transfer.state, transfer.finished_at = TransferState.WAITING, None
            transfer.bytes_done = max(transfer.bytes_done, blob.received)
        else:
            _close(transfer)
        transfer.blob_id = ids[blob.sha256]
        source_id, transfer.path = blob.locations[0]
        transfer.source_id = source_id if source_id in kept else None
    _settle_others(known, by_digest)
    db.session.flush()
    transfers = [_as_transfer(row) for row in known.values()]
    db.session.commit()
    return transfers


def mark_ready(sha256: str) -> None:
    """Note that bytes are whole and verified."""
    rows.execute(
        update(Blob)
        .where(Blob.sha256 == sha256, Blob.state != retention.DELETING)
        .values(state="ready", verified_at=utcnow())
    )
    db.session.commit()


def wait_for_deletions() -> None:
    """Let another process finish deleting, or finish it when that one died."""
    time.sleep(_PAUSE_S)
    retention.finish_deletions()


def _add_missing(blobs: Sequence[PlannedBlob]) -> None:
    new = [{"sha256": blob.sha256, "size": blob.size} for blob in blobs]
    if new:
        db.session.execute(rows.insert_new(Blob), new)


def _locked(digests: Sequence[str]) -> list[Any]:
    """The rows of these blobs, locked in the one order that everybody takes."""
    ordered = sorted(digests)
    columns = (Blob.id, Blob.sha256, Blob.size, Blob.state)
    found: list[Any] = []
    for start in range(0, len(ordered), rows.CHUNK):
        chunk = ordered[start : start + rows.CHUNK]
        query = select(*columns).where(Blob.sha256.in_(chunk)).order_by(Blob.sha256)
        found += db.session.execute(query.with_for_update()).all()
    return found


def _correct(found: Sequence[Any], planned: dict[str, PlannedBlob]) -> None:
    """Rows that claim bytes which are not there, or the size of another stream's lie."""
    lost = [row for row in found if row.state == "ready" and not planned[row.sha256].is_ready]
    wrong = [
        {"id": row.id, "size": planned[row.sha256].size, "state": "wanted"}
        for row in found
        if row in lost or row.size != planned[row.sha256].size
    ]
    if wrong:
        db.session.execute(update(Blob), wrong)
    if lost:
        events.record("blob.missing", actor="worker", digests=[row.sha256 for row in lost][:50])
        publishing.bump()


def _new_transfer(run_id: int, blob: PlannedBlob) -> FileTransfer:
    """A row for the run. What is in the store already is done and was never started."""
    row = FileTransfer(
        run_id=run_id,
        image=blob.first.name,
        architecture=blob.first.architecture,
        version=blob.version,
        filename=blob.filename,
        sha256=blob.sha256,
        size=blob.size,
        state=TransferState.DONE if blob.is_ready else TransferState.WAITING,
        bytes_done=blob.received,
    )
    db.session.add(row)
    return row


def _settle_others(known: dict[str, FileTransfer], planned: Collection[str]) -> None:
    """Rows of a resumed run whose files are not in its new plan: done already, or not wanted."""
    others = [
        row
        for digest, row in known.items()
        if digest not in planned and row.state != TransferState.DONE
    ]
    if not others:
        return
    ready = set(
        db.session.scalars(
            select(Blob.sha256)
            .join(FileTransfer, FileTransfer.blob_id == Blob.id)
            .where(FileTransfer.run_id == others[0].run_id, Blob.state == "ready")
        )
    )
    for row in others:
        if row.sha256 in ready:
            _close(row)
        else:
            db.session.delete(known.pop(row.sha256))


def _close(transfer: FileTransfer) -> None:
    """The worker before us had fetched it and did not come to say so."""
    if transfer.state != TransferState.DONE:
        transfer.state, transfer.bytes_done = TransferState.DONE, transfer.size
        transfer.started_at = transfer.started_at or utcnow()
        transfer.finished_at = utcnow()


def _existing_sources(ids: Collection[int]) -> set[int]:
    """Those of the sources that are not being removed just now."""
    query = select(BootSource.id).where(BootSource.id.in_(ids)).with_for_update(read=True)
    return set(db.session.scalars(query))


def _as_transfer(row: FileTransfer) -> Transfer:
    return Transfer(
        id=row.id,
        sha256=row.sha256,
        size=row.size,
        done=row.bytes_done,
        state=row.state,
        retries=row.retries,
        is_counted=row.state != TransferState.DONE or row.started_at is not None,
        started_at=row.started_at,
        finished_at=row.finished_at,
        offset=row.bytes_done,
    )
