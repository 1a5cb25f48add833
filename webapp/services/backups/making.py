# SPDX-License-Identifier: Apache-2.0
"""Back up a region while everything runs.

Database, secret key, settings, keyrings, CA files and the list of stored bytes are always kept.
Bytes are kept as asked: none, since an import downloads them again; those that no enabled
boot source offers, above all uploads; or all.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, select

from webapp import config, database
from webapp.errors import Problem
from webapp.extensions import db, settings, store
from webapp.models import (
    Blob,
    BlobState,
    BootSource,
    BootSourceCache,
    ResourceFile,
    ResourceSet,
    utcnow,
)
from webapp.services.backups import manifest, snapshots, writing
from webapp.services.backups.manifest import Manifest
from webapp.services.blobs import damage
from webapp.services.blobs.damage import Verified
from webapp.services.mirror import keys, signatures
from webapp.services.system import events

MAX_FILE_BYTES = 1 << 20  # of a keyring, or of a CA file
_PAGE = 200

log = structlog.get_logger(__name__)


class Keep(enum.StrEnum):
    """Which image bytes a backup holds."""

    NONE = "none"
    UPLOADS = "uploads"  # and whatever else no enabled boot source offers
    ALL = "all"


@dataclass(frozen=True)
class Made:
    """A finished backup.

    size, files: bytes and number of its members. kept: blobs whose bytes it holds.
    only_here: blobs that no boot source offers and whose bytes aren't in it. damaged:
    digests of blobs that were found damaged and left out.
    """

    target: Path
    size: int
    files: int
    kept: int
    only_here: int
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class _Region:
    """What the copied database contains. files: path of what boot sources need, by member."""

    revision: str
    blobs: tuple[Verified, ...]
    offered: frozenset[str]
    files: dict[str, str]


def make(target: Path, keep: Keep, advance: Callable[[int, int], object]) -> Made:
    """Write a backup to a new folder, or to a new tar file when the name ends in ``.tar``.

    advance: called with bytes written and bytes to write. Raises Problem; then there's
    no backup.
    """
    with writing.writing(target) as writer:
        with snapshots.copied(db.engine, writer.scratch) as connection:
            region = _read(connection)
        only_here = {blob.sha256 for blob in region.blobs} - region.offered
        wanted = [
            blob
            for blob in region.blobs
            if keep is Keep.ALL or (keep is Keep.UPLOADS and blob.sha256 in only_here)
        ]
        writer.add_scratch(manifest.DATABASE)
        writer.add_bytes(manifest.KEY, settings().secret_key.encode())
        writer.add_bytes(manifest.SETTINGS, _settings())
        writer.add_bytes(manifest.BLOBS, _listed(region, wanted))
        _add_files(writer, region)
        signing = keys.secrets() | signatures.secrets()
        for fingerprint, secret in sorted(signing.items()):
            writer.add_bytes(f"{manifest.SIGNING}{fingerprint}", secret)
        left_out, damaged = _add_blobs(writer, wanted, advance)
        writer.finish(
            Manifest(
                created_at=utcnow().isoformat(timespec="seconds"),
                version=database.program_version(),
                revision=region.revision,
                engine=db.engine.dialect.name,
                with_bytes=keep,
                left_out=left_out,
                members=tuple(writer.members),
            )
        )
    size = sum(member.size for member in writer.members)
    events.record("backup.made", actor="local", subject=target.name, bytes=size, keeps=keep)
    db.session.commit()
    kept = len(wanted) - len(left_out)
    missing = len(only_here) if keep is Keep.NONE else 0
    return Made(target, size, len(writer.members), kept, missing, damaged)


def _read(connection: Connection) -> _Region:
    is_named = (
        select(ResourceFile.id)
        .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
        .where(ResourceFile.blob_id == Blob.id, ResourceSet.retired_at.is_(None))
    )
    columns = (Blob.sha256, Blob.size, Blob.mtime_ns, Blob.verified_at)
    ready = select(*columns).where(Blob.state == BlobState.READY, is_named.exists())
    blobs = tuple(Verified(*row) for row in connection.execute(ready.order_by(Blob.sha256)))
    files = {}
    sources = select(BootSource.id, BootSource.keyring_filename, BootSource.ca_file)
    for source_id, keyring, authorities in connection.execute(sources.order_by(BootSource.id)):
        files[f"{manifest.KEYRINGS}{source_id}"] = keyring
        files[f"{manifest.AUTHORITIES}{source_id}"] = authorities
    return _Region(
        revision=database.current_revision(connection),
        blobs=blobs,
        offered=frozenset(_offered(connection)),
        files={member: path for member, path in files.items() if path},
    )


def _offered(connection: Connection) -> Iterator[str]:
    """The digests that the next import could download."""
    query = select(BootSourceCache.items).join(
        BootSource, BootSource.id == BootSourceCache.source_id
    )
    rows = connection.execution_options(yield_per=_PAGE).execute(query.where(BootSource.is_enabled))
    for (items,) in rows:
        yield from (str(item["sha256"]) for item in items)


def _settings() -> bytes:
    """Settings that differ from their defaults, without secrets."""
    rows = [row for row in config.table(settings()) if row[2] != "default"]
    return _json({name: value for name, value, _origin, _help in rows if value != config.MASK})


def _listed(region: _Region, wanted: list[Verified]) -> bytes:
    kept = {blob.sha256 for blob in wanted}
    return _json(
        [
            {
                "sha256": blob.sha256,
                "size": blob.size,
                "is_offered": blob.sha256 in region.offered,
                "is_kept": blob.sha256 in kept,
            }
            for blob in region.blobs
        ]
    )


def _add_files(writer: writing.Writer, region: _Region) -> None:
    for member, path in region.files.items():
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            log.warning("a file isn't in the backup", path=path, reason=error.strerror)
            continue
        if len(data) <= MAX_FILE_BYTES:
            writer.add_bytes(member, data)
        else:
            log.warning("a file isn't in the backup", path=path, reason="too large")


def _add_blobs(
    writer: writing.Writer, wanted: list[Verified], advance: Callable[[int, int], object]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy bytes; returns the digests that were left out, and those that were damaged."""
    total, before = sum(blob.size for blob in wanted), 0
    left_out, damaged = [], []
    for blob in wanted:
        if not _is_added(writer, blob, before, lambda done: advance(done, total)):
            left_out.append(blob.sha256)
            fault = damage.hashed_fault(blob, store())
            if fault is not None and damage.mark_bad(
                db.session.connection(), blob, fault, "backup"
            ):
                damaged.append(blob.sha256)
            db.session.commit()
        before += blob.size
    return tuple(left_out), tuple(damaged)


def _is_added(
    writer: writing.Writer, blob: Verified, before: int, advance: Callable[[int], object]
) -> bool:
    def counted(chunks: Iterator[bytes]) -> Iterator[bytes]:
        done = before
        for chunk in chunks:
            yield chunk
            done += len(chunk)
            advance(done)

    try:
        with store().open(blob.sha256) as reader:
            name = manifest.BYTES + blob.sha256
            writer.add(name, blob.size, counted(reader.chunks()), blob.sha256)
    except (Problem, writing.MemberDiffers):
        return False
    return True


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
