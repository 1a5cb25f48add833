# SPDX-License-Identifier: Apache-2.0
"""What takes the room in the store, and what deleting each image would free."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import and_, or_, select

from webapp.extensions import db, store
from webapp.models import Blob, BlobState, BootResource, ResourceFile, ResourceSet, ResourceType


class Share(enum.StrEnum):
    """Why bytes are in the store; each byte counts once, by the first that holds."""

    UPLOADED = "uploaded"  # in the current version of an uploaded image
    SHARED = "shared"  # in current versions of several images
    CURRENT = "current"  # in the current version of one image
    OLDER = "older"  # in older versions only
    BIN = "bin"
    UNUSED = "unused"  # nothing names them; clean-up deletes them
    DAMAGED = "damaged"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Use:
    """A version names a blob. image: os, release, architecture."""

    blob_id: int
    image: tuple[str, str, str]
    is_current: bool
    is_uploaded: bool
    is_in_bin: bool


@dataclass
class ImageRoom:
    """Bytes of an image: in its current and in older versions; what deleting it frees; the rest.

    shared: bytes that stay for other images.
    """

    os: str
    release: str
    arch: str
    current: int = 0
    older: int = 0
    frees: int = 0
    shared: int = 0


@dataclass(frozen=True)
class Room:
    """Bytes by share, and by image, the one whose deletion frees most first."""

    shares: Mapping[Share, int] = field(default_factory=dict)
    images: tuple[ImageRoom, ...] = ()

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self.shares.values())


def read() -> Room:
    """Read it from the rows, in two queries, and the unfinished files from the store."""
    blobs = db.session.execute(
        select(Blob.id, Blob.size, Blob.state).where(
            Blob.state.in_((BlobState.READY, BlobState.BAD, BlobState.DELETING, BlobState.STRAY))
        )
    ).all()
    bad = sum(row.size for row in blobs if row.state == BlobState.BAD)
    unfinished = sum(partial.received for partial in store().partials())
    ready = {row.id: row.size for row in blobs if row.state == BlobState.READY}
    going = sum(row.size for row in blobs if row.state in (BlobState.DELETING, BlobState.STRAY))
    found = divide(ready, _uses())
    more = {Share.DAMAGED: bad, Share.UNFINISHED: unfinished}
    unused = found.shares[Share.UNUSED] + going
    return Room({**found.shares, Share.UNUSED: unused, **more}, found.images)


def divide(sizes: Mapping[int, int], uses: Iterable[Use]) -> Room:
    """Divide whole blobs, given as sizes by id, by what names them. Pure."""
    by_blob: dict[int, list[Use]] = defaultdict(list)
    for use in uses:
        if use.blob_id in sizes:
            by_blob[use.blob_id].append(use)
    shares = dict.fromkeys(Share, 0)
    images: dict[tuple[str, str, str], ImageRoom] = {}
    for blob_id, size in sizes.items():
        named = by_blob.get(blob_id, [])
        shares[_share(named)] += size
        live = [use for use in named if not use.is_in_bin]
        keys = {use.image for use in live}
        current = {use.image for use in live if use.is_current}
        for key in keys:
            room = images.setdefault(key, ImageRoom(*key))
            if key in current:
                room.current += size
            else:
                room.older += size
            # What an image in the bin names as well isn't freed before the bin is emptied.
            if len(keys) == 1 and len(live) == len(named):
                room.frees += size
            else:
                room.shared += size
    order = sorted(images.values(), key=lambda one: (-one.frees, one.os, one.release, one.arch))
    return Room(shares, tuple(order))


def _share(named: list[Use]) -> Share:
    current = [use for use in named if use.is_current]
    if any(use.is_uploaded for use in current):
        return Share.UPLOADED
    if current:
        is_shared = len({use.image for use in current}) > 1
        return Share.SHARED if is_shared else Share.CURRENT
    if any(not use.is_in_bin for use in named):
        return Share.OLDER
    return Share.BIN if named else Share.UNUSED


def _uses() -> Iterable[Use]:
    is_in_bin = and_(BootResource.current_set_id.is_(None), ResourceSet.is_binned)
    is_stored = or_(ResourceSet.completed_at.is_not(None), ResourceSet.retired_at.is_not(None))
    rows = db.session.execute(
        select(
            ResourceFile.blob_id,
            BootResource.os,
            BootResource.release,
            BootResource.arch,
            (ResourceSet.id == BootResource.current_set_id).label("is_current"),
            BootResource.rtype,
            is_in_bin.label("is_in_bin"),
        )
        .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
        .join(BootResource, BootResource.id == ResourceSet.resource_id)
        .where(is_stored)
    )
    return [
        Use(
            row.blob_id,
            (row.os, row.release, row.arch),
            bool(row.is_current),
            row.rtype == ResourceType.UPLOADED,
            bool(row.is_in_bin),
        )
        for row in rows
    ]
