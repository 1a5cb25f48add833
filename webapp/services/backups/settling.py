# SPDX-License-Identifier: Apache-2.0
"""Make a restored database true: of its store, its uploads and this machine's keyrings.

The next import downloads what is missing, as it does for bytes that were lost
(services.imports.inventory); a restored region needs nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from webapp.models import (
    OPEN_UPLOADS,
    Blob,
    BlobFault,
    BlobState,
    BootSource,
    Event,
    ImportRun,
    Publication,
    RunState,
    Upload,
    UploadState,
    utcnow,
)
from webapp.services.uploads.fetching import ORIGINS
from webapp.storage.base import BlobStore


@dataclass(frozen=True)
class Settled:
    """Blobs whose bytes are there, blobs whose bytes are missing, uploads that begin again."""

    files: int
    missing: int
    uploads: int


@dataclass(frozen=True)
class Files:
    """Files that boot sources name by path; their content by the id of the source.

    keep_authorities: writes the CA file of a source, and returns its path.
    """

    keyrings: Mapping[int, bytes]
    authorities: Mapping[int, bytes]
    keep_authorities: Callable[[int, bytes], str]


def settle(engine: Engine, store: BlobStore, restored: Collection[str], needed: Files) -> Settled:
    """Adjust the rows in one transaction.

    restored: digests that were just written and verified. needed: what boot sources need.
    """
    with Session(engine) as session, session.begin():
        files, missing = _settle_blobs(session, store, restored)
        uploads = _restart_uploads(session)
        _keep_files(session, needed)
        session.execute(
            update(ImportRun)
            .where(ImportRun.state == RunState.RUNNING)
            .values(lease_until=utcnow())
        )
        session.execute(
            update(Publication).values(serial=Publication.serial + 1, changed_at=utcnow())
        )
        detail = {"files": files, "missing": missing, "uploads": uploads}
        session.add(Event(kind="backup.restored", actor="local", detail=detail))
    return Settled(files, missing, uploads)


def _settle_blobs(session: Session, store: BlobStore, restored: Collection[str]) -> tuple[int, int]:
    """Note which bytes are there: bad ones are downloaded by the next import."""
    there = {found.sha256: found for found in store.stats()}
    now, there_count, lost = utcnow(), 0, []
    fresh = []
    columns = (Blob.id, Blob.sha256, Blob.size)
    for row in session.execute(select(*columns).where(Blob.state == BlobState.READY)):
        found = there.get(row.sha256)
        if found is None or found.size != row.size:
            fault = BlobFault.MISSING if found is None else BlobFault.SIZE
            lost.append({"id": row.id, "state": BlobState.BAD, "fault": fault})
            continue
        there_count += 1
        if row.sha256 in restored:
            times = {"verified_at": now, "checked_at": now, "mtime_ns": found.mtime_ns}
            fresh.append({"id": row.id, **times})
    for rows in (lost, fresh):
        if rows:
            session.execute(update(Blob), rows)
    # Found without a row by the old region; here they are bytes to wait for, or to forget.
    session.execute(
        update(Blob).where(Blob.state == BlobState.STRAY).values(state=BlobState.WANTED)
    )
    return there_count, len(lost)


def _restart_uploads(session: Session) -> int:
    """Unfinished uploads begin at their first byte, since a backup doesn't hold their bytes."""
    opened = session.scalars(select(Upload).where(Upload.state.in_(OPEN_UPLOADS))).all()
    for upload in opened:
        is_fetched = upload.origin in ORIGINS
        upload.state = UploadState.FETCHING if is_fetched else UploadState.RECEIVING
        upload.received = upload.checked = 0
        upload.claimed_by, upload.claimed_at, upload.problem = "", None, {}
        upload.touched_at = utcnow()
        if upload.original:  # converted: what is sent again is the original
            upload.sha256, upload.size = upload.original["sha256"], upload.original["size"]
            upload.original = {}
    return len(opened)


def _keep_files(session: Session, files: Files) -> None:
    """Keep the content of files that aren't on this machine."""
    ids = files.keyrings.keys() | files.authorities.keys()
    for source in session.scalars(select(BootSource).where(BootSource.id.in_(ids))):
        keyring = files.keyrings.get(source.id)
        if keyring is not None and not os.path.exists(source.keyring_filename):
            source.keyring_filename, source.keyring_data = "", keyring
        authorities = files.authorities.get(source.id)
        if authorities is not None and not os.path.exists(source.ca_file):
            source.ca_file = files.keep_authorities(source.id, authorities)
