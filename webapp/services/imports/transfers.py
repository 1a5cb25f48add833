# SPDX-License-Identifier: Apache-2.0
"""The files that a run fetches: a row each, the bytes they need reserved, and their mirrors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select, update

from webapp.extensions import db
from webapp.models import Blob, BlobState, BootSource, FileTransfer, TransferState, utcnow
from webapp.services.blobs import reserving
from webapp.services.imports.downloading import Mirror
from webapp.services.imports.plans import PlannedBlob, SourceState
from webapp.services.imports.progress import Transfer
from webapp.services.sources import mirrors, sources
from webapp.streams.urls import normalise


def begin(run_id: int, blobs: Sequence[PlannedBlob], renew: Callable[[], object]) -> list[Transfer]:
    """Reserve every blob and give the run a file transfer for it, in one transaction.

    renew: renews the run's lease while bytes are being deleted that this run wants.
    """
    by_digest = {blob.sha256: blob for blob in blobs}
    found = reserving.reserve({blob.sha256: blob.size for blob in blobs}, renew)
    _correct(found, by_digest)
    ids = {row.sha256: row.id for row in found}
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


def mirrors_of(blobs: Collection[PlannedBlob], states: Iterable[SourceState]) -> dict[int, Mirror]:
    """How to fetch from each source that has some of these."""
    used = {location.source_id for blob in blobs for location in blob.locations}
    urls = {state.id: state.url for state in states}
    rows = db.session.scalars(select(BootSource).where(BootSource.id.in_(used))).all()
    paths = {  # of the largest file of each source, to measure its mirrors with
        location.source_id: location.path
        for blob in sorted(blobs, key=lambda blob: blob.size)
        for location in blob.locations
    }
    found = {
        row.id: Mirror(
            mirrors.fastest_first(row, paths[row.id])
            if row.mirrors and row.url == urls[row.id]
            else [(normalise(urls[row.id]).root, sources.fetcher_for(row))]
        )
        for row in rows
    }
    db.session.commit()
    return found


def _correct(found: Sequence[Any], planned: dict[str, PlannedBlob]) -> None:
    """Rows with the size of another stream's lie; those of verified bytes are right."""
    wrong = [
        {"id": row.id, "size": planned[row.sha256].size, "state": BlobState.WANTED}
        for row in found
        if row.size != planned[row.sha256].size
    ]
    if wrong:
        db.session.execute(update(Blob), wrong)


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
            .where(FileTransfer.run_id == others[0].run_id, Blob.state == BlobState.READY)
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
