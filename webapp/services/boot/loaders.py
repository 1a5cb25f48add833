# SPDX-License-Identifier: Apache-2.0
"""Boot loaders: unpacked by the worker, held in memory by racks (rule: boot-loader-archives)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import structlog
from sqlalchemy import Connection, case, select

from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BlobState,
    BootLoader,
    BootLoaderFile,
    BootResource,
    ResourceFile,
    ResourceSet,
)
from webapp.services.blobs.damage import Verified, hashed_fault, mark_bad
from webapp.services.boot.document import LoaderVersion
from webapp.services.boot.unpacking import unpack
from webapp.services.images import publishing
from webapp.services.system import events
from webapp.storage.errors import StoreProblem
from webapp.streams.racks import RackFile

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LoaderFile:
    """A file as it's served. modified: Unix time at which its version was complete."""

    content: bytes
    sha256: str
    modified: int


@dataclass(frozen=True)
class Loader:
    """A boot loader's version in use. problem: why a newer one isn't; empty if nothing is wrong."""

    firmware: str
    arch: str
    version: str
    names: tuple[str, ...]
    problem: dict[str, Any]


def reconcile() -> int:
    """Unpack each version of a boot loader that wasn't yet; returns how many."""
    rows = db.session.execute(
        select(ResourceSet.id, BootResource.name, BootResource.arch, ResourceSet.version)
        .join(BootResource, BootResource.current_set_id == ResourceSet.id)
        .outerjoin(BootLoader, BootLoader.set_id == ResourceSet.id)
        .where(BootResource.bootloader_type != "", BootLoader.set_id.is_(None))
        .order_by(ResourceSet.id)
    ).all()
    for row in rows:
        _unpack(row.id, f"{row.name} {row.arch} {row.version}")
    return len(rows)


def _unpack(set_id: int, where: str) -> None:
    archives = db.session.execute(
        select(
            *(Blob.sha256, Blob.size, Blob.mtime_ns, Blob.verified_at, Blob.state),
            ResourceFile.filename,
        )
        .join(ResourceFile, ResourceFile.blob_id == Blob.id)
        .where(ResourceFile.set_id == set_id)
        .order_by(ResourceFile.filename)
    ).all()
    if any(row.state != BlobState.READY for row in archives):
        return  # damaged here: the next import replaces them
    files: dict[str, bytes] = {}
    problem: dict[str, str] = {}
    try:
        for row in archives:
            known = Verified(row.sha256, row.size, row.mtime_ns, row.verified_at)
            if fault := hashed_fault(known, store()):
                mark_bad(db.session.connection(), known, fault, "worker")
                db.session.commit()
                return
            with store().open(row.sha256) as reader:
                files |= unpack(reader.chunks(), f"{where} {row.filename}")
    except StoreProblem as error:
        log.warning("a boot loader's archive can't be read yet", problem=str(error))
        return
    except Problem as error:
        files, problem = {}, error.as_dict()
        log.warning("a boot loader can't be unpacked", problem=str(error))
    db.session.add(BootLoader(set_id=set_id, problem=problem))
    db.session.flush()
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        db.session.add(BootLoaderFile(set_id=set_id, name=name, sha256=digest, content=content))
    kind = "boot.loader_refused" if problem else "boot.loader_unpacked"
    events.record(kind, actor="worker", subject=where, files=len(files))
    publishing.bump()
    db.session.commit()


# Of each boot loader the current version if it could be unpacked, else the last one that could.
# The BIOS loader of i386 comes before that of amd64 (rule: boot-loader-archives).
_IN_USE = (
    select(
        BootLoader.set_id,
        BootResource.id.label("resource_id"),
        BootResource.bootloader_type,
        BootResource.arch,
        BootResource.current_set_id,
        ResourceSet.version,
        ResourceSet.completed_at,
        BootLoader.problem,
    )
    .join(ResourceSet, ResourceSet.id == BootLoader.set_id)
    .join(BootResource, BootResource.id == ResourceSet.resource_id)
    .where(BootResource.binned_at.is_(None))
    .order_by(
        BootResource.bootloader_type,
        BootResource.arch.desc(),
        BootResource.id,
        case((ResourceSet.id == BootResource.current_set_id, 0), else_=1),
        ResourceSet.id.desc(),
    )
)


def _in_use(connection: Connection) -> list[Any]:
    found: dict[int, Any] = {}
    for row in connection.execute(_IN_USE):
        if not row.problem:
            found.setdefault(row.resource_id, row)
    return list(found.values())


def versions(connection: Connection) -> tuple[LoaderVersion, ...]:
    """The loaders in use, in the order in which their names count; three statements."""
    rows = _in_use(connection)
    ids = [row.set_id for row in rows]
    names: dict[int, dict[str, str]] = {}
    columns = (BootLoaderFile.set_id, BootLoaderFile.name, BootLoaderFile.sha256)
    of_these = BootLoaderFile.set_id.in_(ids)
    for set_id, name, sha256 in connection.execute(
        select(*columns).where(of_these).order_by(BootLoaderFile.name)
    ):
        names.setdefault(set_id, {})[name] = sha256
    archives: dict[int, list[RackFile]] = {}
    for set_id, filename, sha256, size in connection.execute(
        select(ResourceFile.set_id, ResourceFile.filename, Blob.sha256, Blob.size)
        .join(Blob, Blob.id == ResourceFile.blob_id)
        .where(ResourceFile.set_id.in_(ids))
        .order_by(ResourceFile.filename)
    ):
        archives.setdefault(set_id, []).append(RackFile(sha256, size, quote(filename)))
    return tuple(
        LoaderVersion(
            row.bootloader_type,
            row.arch,
            int(row.completed_at.timestamp()),
            tuple(archives.get(row.set_id, ())),
            names.get(row.set_id, {}),
        )
        for row in rows
    )


def read_loaders(connection: Connection, known: Mapping[str, LoaderFile]) -> dict[str, LoaderFile]:
    """The files by their names below the rack's root, and as ``bootloader/FIRMWARE/ARCH/NAME``.

    known: files in memory already, whose bytes aren't read again.
    """
    found = versions(connection)
    bytes_of = {file.sha256: file.content for file in known.values()}
    digests = {sha256 for one in found for sha256 in one.files.values()}
    if fresh := digests - bytes_of.keys():
        columns = (BootLoaderFile.sha256, BootLoaderFile.content)
        rows = connection.execute(select(*columns).where(BootLoaderFile.sha256.in_(fresh)))
        bytes_of |= {row.sha256: row.content for row in rows}
    return placed(found, bytes_of)


def placed(found: Iterable[LoaderVersion], bytes_of: Mapping[str, bytes]) -> dict[str, LoaderFile]:
    """Those files whose bytes are given by SHA-256, by the paths where they're served."""
    files: dict[str, LoaderFile] = {}
    for one in found:
        for name, sha256 in one.files.items():
            if sha256 in bytes_of:
                at_root, below = one.paths(name)
                files[below] = LoaderFile(bytes_of[sha256], sha256, one.completed)
                files.setdefault(at_root, files[below])
    return files


def listing() -> list[Loader]:
    """The boot loaders in use, with why the current version of one isn't."""
    connection = db.session.connection()
    problems = {
        row.resource_id: row.problem
        for row in connection.execute(_IN_USE)
        if row.problem and row.set_id == row.current_set_id
    }
    found = []
    for row in _in_use(connection):
        names = db.session.scalars(
            select(BootLoaderFile.name)
            .where(BootLoaderFile.set_id == row.set_id)
            .order_by(BootLoaderFile.name)
        )
        problem = problems.pop(row.resource_id, {})
        found.append(Loader(row.bootloader_type, row.arch, row.version, tuple(names), problem))
    for row in connection.execute(_IN_USE):
        if row.resource_id in problems:
            problem = problems.pop(row.resource_id)
            found.append(Loader(row.bootloader_type, row.arch, "", (), problem))
    return found
