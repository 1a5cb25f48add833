# SPDX-License-Identifier: Apache-2.0
"""The bin: images that were removed, for as long as they can be restored without a download."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import selectinload

from webapp.errors import NotFound, Problem
from webapp.extensions import db, settings
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    ResourceFile,
    ResourceSet,
    ResourceType,
    utcnow,
)
from webapp.services.images import publishing
from webapp.services.images.keys import CUSTOM
from webapp.services.system import events, statements


@dataclass(frozen=True)
class Binned:
    """An image in the bin: all its kernels that were removed.

    bytes: what only it holds, beside other images in the bin. until: when it goes for good.
    """

    os: str
    name: str
    arch: str
    title: str
    version: str
    kernels: tuple[str, ...]
    why: str
    by: str
    binned_at: datetime
    until: datetime
    bytes: int
    is_uploaded: bool
    resource_ids: tuple[int, ...]

    @property
    def link(self) -> dict[str, str]:
        """How addresses name it."""
        release = self.name.partition("/")[2] or self.name
        return {"os": self.os or CUSTOM, "release": release, "arch": self.arch}

    @property
    def left_s(self) -> int:
        """Seconds until it goes."""
        return max(0, int((self.until - utcnow()).total_seconds()))


@dataclass(frozen=True)
class Bin:
    """What is in the bin, the latest first. bytes: what emptying it frees in all."""

    images: tuple[Binned, ...]
    bytes: int


@dataclass(frozen=True)
class Emptied:
    """What was given up; its bytes go once no machine can still be booting from it."""

    images: int
    bytes: int


def read() -> Bin:
    """The bin with the bytes that it holds, in three queries."""
    rows: Iterable[Any] = db.session.execute(
        select(BootResource, ResourceSet.version)
        .outerjoin(ResourceSet, ResourceSet.id == BootResource.binned_set_id)
        .where(_is_in_bin())
        .order_by(BootResource.name, BootResource.arch, BootResource.subarch)
    ).all()
    held = _held_bytes()
    lifetime = timedelta(hours=settings().bin_hours)
    images = []
    for _, group in groupby(rows, key=lambda row: (row[0].name, row[0].arch)):
        kernels = list(group)
        first, version = max(kernels, key=lambda row: row[0].binned_at)
        sizes = {blob: size for row in kernels for blob, size in held[row[0].id].items()}
        images.append(
            Binned(
                os=first.os,
                name=first.name,
                arch=first.arch,
                title=first.title or first.name,
                version=version or "",
                kernels=tuple(row[0].subarch for row in kernels),
                why=first.binned_why,
                by=first.binned_by,
                binned_at=first.binned_at,
                until=min(row[0].binned_at for row in kernels) + lifetime,
                bytes=sum(sizes.values()),
                is_uploaded=first.rtype == ResourceType.UPLOADED,
                resource_ids=tuple(row[0].id for row in kernels),
            )
        )
    every = {blob: size for sizes in held.values() for blob, size in sizes.items()}
    images.sort(key=lambda one: one.binned_at, reverse=True)
    return Bin(tuple(images), sum(every.values()))


def held_bytes() -> int:
    """Bytes that emptying the bin frees."""
    return sum({blob: size for s in _held_bytes().values() for blob, size in s.items()}.values())


def find(os: str, release: str, arch: str, kernel: str = "") -> list[int]:
    """The boot resources of an image in the bin: of all kernels, or of one. Raises NotFound."""
    names = (f"{os}/{release}", release) if os == CUSTOM else (f"{os}/{release}",)
    query = select(BootResource.id).where(
        _is_in_bin(), BootResource.name.in_(names), BootResource.arch == arch
    )
    if kernel:
        query = query.where(BootResource.subarch == kernel)
    found = list(db.session.scalars(query.order_by(BootResource.id)))
    if not found:
        raise _not_there(f"{os}/{release} {arch}{'/' + kernel if kernel else ''}"[:200])
    return found


def restore(resource_ids: Collection[int], actor: str) -> list[BootResource]:
    """Let machines get images as they did before, all or none, without a download.

    Raises NotFound, or Problem if bytes were damaged since. What selections ask for is
    unchanged.
    """
    rows = _locked(resource_ids)
    for row in rows:
        sets = [one for one in row.sets if one.is_binned]
        chosen = next((one for one in sets if one.id == row.binned_set_id), None)
        chosen = chosen or max(sets, key=lambda one: one.id, default=None)
        if chosen is None or any(f.blob.state != BlobState.READY for f in chosen.files):
            db.session.rollback()
            raise Problem(
                "This image can't be restored: some of its files are missing or damaged.",
                code="blob-damaged",
                where=f"{row.name} {row.architecture}",
                next_step="Select it and start an import, which downloads what is missing.",
            )
        publishing.revive(row)
        row.current_set_id = chosen.id
        events.record(
            "image.restored",
            actor=actor,
            subject=f"{row.name} {row.architecture}",
            version=chosen.version,
        )
    publishing.bump()
    db.session.commit()
    return rows


def empty(resource_ids: Collection[int] | None, actor: str) -> Emptied:
    """Give up images in the bin, or all: clean-up frees them after the grace time.

    Raises NotFound for one that isn't there.
    """
    before = read()
    if resource_ids is None:
        resource_ids = [id for one in before.images for id in one.resource_ids]
    rows = _locked(resource_ids) if resource_ids else []
    for row in rows:
        events.record("image.discarded", actor=actor, subject=f"{row.name} {row.architecture}")
        row.binned_at = row.binned_set_id = row.pinned_at = None
        row.binned_why = row.binned_by = ""
    ids = [row.id for row in rows]
    statements.execute(
        update(ResourceSet).where(ResourceSet.resource_id.in_(ids)).values(is_binned=False)
    )
    db.session.commit()
    count = len({(row.name, row.arch) for row in rows})
    return Emptied(count, before.bytes - held_bytes())


# -- pieces


def _is_in_bin() -> ColumnElement[bool]:
    since = utcnow() - timedelta(hours=settings().bin_hours)
    return (BootResource.binned_at > since) & BootResource.current_set_id.is_(None)


def _held_bytes() -> dict[int, dict[int, int]]:
    """By boot resource: the blobs that only the bin names, with their sizes; two queries."""
    columns = (BootResource.id, ResourceFile.blob_id, Blob.size)
    is_held = _is_in_bin() & ResourceSet.is_binned
    rows: Iterable[Any] = db.session.execute(
        select(*columns)
        .join(ResourceSet, ResourceSet.resource_id == BootResource.id)
        .join(ResourceFile, ResourceFile.set_id == ResourceSet.id)
        .join(Blob, Blob.id == ResourceFile.blob_id)
        .where(is_held, Blob.state == BlobState.READY)
    )
    rows = list(rows)
    others = set(
        db.session.scalars(
            select(ResourceFile.blob_id)
            .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
            .join(BootResource, BootResource.id == ResourceSet.resource_id)
            .where(or_(BootResource.current_set_id.is_not(None), ~ResourceSet.is_binned))
        )
        if rows
        else ()
    )
    held: dict[int, dict[int, int]] = defaultdict(dict)
    for row in rows:
        if row.blob_id not in others:
            held[row.id][row.blob_id] = row.size
    return held


def _locked(resource_ids: Collection[int]) -> list[BootResource]:
    rows = db.session.scalars(
        select(BootResource)
        .where(BootResource.id.in_(resource_ids), _is_in_bin())
        .options(
            selectinload(BootResource.sets)
            .selectinload(ResourceSet.files)
            .selectinload(ResourceFile.blob)
        )
        .order_by(BootResource.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    missing = set(resource_ids) - {row.id for row in rows}
    if missing or not rows:
        db.session.rollback()
        raise _not_there(f"boot resource {min(missing, default=0)}")
    return list(rows)


def _not_there(where: str) -> NotFound:
    return NotFound(
        "This image isn't in the bin.",
        where=where,
        next_step="It may be restored already, or be gone for good. See what is in the bin.",
    )
