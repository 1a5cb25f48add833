# SPDX-License-Identifier: Apache-2.0
"""Restore a backup into an empty data folder.

What fails is taken back; what is killed stays marked and can be repeated.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Engine, create_engine

from webapp import config, database
from webapp.config import Settings
from webapp.durable import sync_folder
from webapp.services.backups import manifest, postgres, reading, settling, unfinished
from webapp.services.backups.manifest import Manifest
from webapp.services.backups.reading import Backup
from webapp.services.backups.unfinished import Attempt
from webapp.services.mirror import keys
from webapp.storage.base import BlobStore
from webapp.storage.errors import problem_of
from webapp.storage.opening import bucket_options, open_store

_THREADS = 2
# In the data folder, besides the store and an SQLite database.
_MADE = frozenset({"authorities", "secret.key", keys.FOLDER})
# Settings that a restore is meant to change.
_PLACES = {
    f"SLIPWAY_{name}"
    for name in ("DATA_DIR", "DATABASE_URL", "IMPORT_DIR", "QUEUE_URL", "STORE_DIR")
}


@dataclass(frozen=True)
class Restored:
    """What is back.

    files: blobs whose bytes are there. missing: blobs that the next import downloads, or
    that must be uploaded again. other_settings: names of settings that the backed-up
    region had set to another value.
    """

    created_at: str
    files: int
    missing: int
    restarted_uploads: int
    other_settings: tuple[str, ...]


def restore(path: Path, settings: Settings, advance: Callable[[int], object]) -> Restored:
    """Bring a backup back to where ``settings`` points.

    advance: called with the bytes restored so far. Raises BackupDamaged, Problem,
    StoreProblem; then data folder and database are as empty as before.
    """
    with reading.opened(path) as backup:
        _refuse_unsuitable(backup.manifest, settings)
        key = backup.content(backup.manifest.member(manifest.KEY)).decode()
        _refuse_other_key(key, settings)
        engine = create_engine(settings.database_url, **database.engine_options(settings, _THREADS))
        database.prepare_engine(engine)
        try:
            digest = hashlib.sha256(manifest.render(backup.manifest)).hexdigest()
            makes = _MADE | {settings.store_dir.name}
            with unfinished.attempt(settings.data_dir, engine, digest, makes) as attempt:
                if attempt.done:
                    return Restored(**attempt.done)
                found = _bring_back(backup, settings, engine, attempt, key, advance)
                _flush(settings.data_dir)
                attempt.complete(asdict(found))
                return found
        except OSError as error:
            raise problem_of(error, settings.data_dir) from error
        finally:
            engine.dispose()


def _bring_back(
    backup: Backup,
    settings: Settings,
    engine: Engine,
    attempt: Attempt,
    key: str,
    advance: Callable[[int], object],
) -> Restored:
    described = backup.manifest
    others = _other_settings(backup, settings)
    if not settings.secret_key:
        _write(settings.data_dir / "secret.key", iter([key.encode()]))
    for member in described.members:
        if member.name.startswith(manifest.SIGNING):
            fingerprint = member.name.removeprefix(manifest.SIGNING)
            keys.keep_secret(settings.data_dir, fingerprint, backup.content(member))
    _load(backup, engine, attempt)
    database.upgrade(engine, key=key, is_restoring=True)
    bucket = bucket_options(settings)
    store = open_store(settings.store, settings.store_dir, engine, bucket=bucket)
    restored = _restore_bytes(backup, store, advance)
    files = settling.Files(
        _numbered(backup, manifest.KEYRINGS),
        _numbered(backup, manifest.AUTHORITIES),
        partial(_keep_authorities, settings.data_dir / "authorities"),
    )
    found = settling.settle(engine, store, restored, files)
    engine.dispose()
    database.fold_journals(settings.database_url)
    return Restored(described.created_at, found.files, found.missing, found.uploads, others)


def _numbered(backup: Backup, folder: str) -> dict[int, bytes]:
    """The members of a folder by their number, the id of a boot source."""
    return {
        int(member.name.removeprefix(folder)): backup.content(member)
        for member in backup.manifest.members
        if member.name.startswith(folder)
    }


def _keep_authorities(folder: Path, source_id: int, content: bytes) -> str:
    """Keep a CA file in the data folder, and return its path."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{source_id}.pem"
    _write(path, iter([content]))
    sync_folder(folder)
    return str(path)


def _load(backup: Backup, engine: Engine, attempt: Attempt) -> None:
    """Put the database in its place."""
    dump = attempt.work / "database"
    _write(dump, backup.chunks(backup.manifest.member(manifest.DATABASE)))
    if engine.dialect.name == "sqlite":
        target = Path(str(engine.url.database))
        if target.parent.samefile(attempt.work.parent):
            os.rename(dump, target)
        else:  # perhaps on another file system
            with dump.open("rb") as file:
                _write(target, _pieces(file))
        sync_folder(target.parent)
    else:
        postgres.load(engine, dump, attempt.number)


def _restore_bytes(
    backup: Backup, store: BlobStore, advance: Callable[[int], object]
) -> frozenset[str]:
    """Write the kept bytes into the store, which checks their digests."""
    restored, done = set(), 0
    for member in backup.manifest.members:
        if not member.name.startswith(manifest.BYTES):
            continue
        with store.writer(member.sha256, member.size) as writer:
            before = writer.offset  # a store that survived may hold a part of it
            for chunk in backup.chunks(member):
                writer.write(chunk[before:])
                before = max(0, before - len(chunk))
                done += len(chunk)
                advance(done)
            writer.commit()
        restored.add(member.sha256)
    return frozenset(restored)


# -- what stands in the way


def _refuse_unsuitable(described: Manifest, settings: Settings) -> None:
    engine = "sqlite" if settings.database_url.startswith("sqlite") else "postgresql"
    if described.engine != engine:
        raise unfinished.refused(
            "The backup is of another kind of database.",
            where="SLIPWAY_DATABASE_URL",
            expected=described.engine,
            got=engine,
            next_step=f"Set SLIPWAY_DATABASE_URL to an empty {described.engine} database.",
        )
    if not database.knows(described.revision):
        raise unfinished.refused(
            "The backup was made by a newer version of Slipway.",
            expected=f"a database that Slipway {database.program_version()} knows",
            got=f"revision {described.revision[:40]} of Slipway {described.version[:40]}",
            next_step=f"Install Slipway {described.version[:40]} or newer.",
        )


def _refuse_other_key(key: str, settings: Settings) -> None:
    if settings.secret_key and not hmac.compare_digest(settings.secret_key.encode(), key.encode()):
        raise unfinished.refused(
            "SLIPWAY_SECRET_KEY isn't the key of the backup, which decrypts its passwords.",
            where="SLIPWAY_SECRET_KEY",
            next_step="Unset SLIPWAY_SECRET_KEY, or set it to the key of the backed-up Slipway.",
        )


def _other_settings(backup: Backup, settings: Settings) -> tuple[str, ...]:
    """Settings that the backup's region had and that are different here; never secrets."""
    there = json.loads(backup.content(backup.manifest.member(manifest.SETTINGS)))
    here = {name: value for name, value, _origin, _help in config.table(settings)}
    shared = there.keys() & here.keys() - _PLACES
    return tuple(sorted(name for name in shared if here[name] != there[name]))


# -- files


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    """Write a private file and flush it to the disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(1 << 20), b"")


def _flush(folder: Path) -> None:
    """Flush files that others wrote: SQLite's, and names in the folder."""
    for entry in folder.iterdir():
        if entry.is_file() and not entry.is_symlink():
            fd = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
    sync_folder(folder)
