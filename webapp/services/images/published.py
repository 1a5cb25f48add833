# SPDX-License-Identifier: Apache-2.0
"""The names that machines may ask for, built from the region's database.

Names follow the layout of MAAS racks (rule: rack-paths):
``os/arch/subarch/release/label/file`` is the current version,
``os/arch/subarch/release/label/version/file`` is that version and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import formatdate
from functools import cached_property
from itertools import groupby, product
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Row, and_, case, or_, select

from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    ImageRestriction,
    ResourceFile,
    ResourceSet,
)
from webapp.services.images.keys import CUSTOM
from webapp.streams.restrictions import Restriction

_COLUMNS = (
    BootResource.id.label("resource_id"),
    BootResource.os,
    BootResource.arch,
    BootResource.subarch,
    BootResource.release,
    BootResource.kflavor,
    BootResource.answers_to,
    BootResource.current_set_id,
    ResourceSet.id.label("set_id"),
    ResourceSet.version,
    ResourceSet.label,
    ResourceSet.completed_at,
    ResourceSet.retired_at,
    ResourceSet.fetched_at,
    ResourceFile.filename,
    ResourceFile.ftype,
    Blob.sha256,
    Blob.size,
    Blob.state,
    Blob.mtime_ns,
    Blob.verified_at,
    ImageRestriction.networks,
    ImageRestriction.macs,
)

# The restriction of a boot resource's image, for outer joins.
IS_KEPT_TO = and_(
    ImageRestriction.os == case((BootResource.os == "", CUSTOM), else_=BootResource.os),
    ImageRestriction.release == BootResource.release,
    ImageRestriction.arch == BootResource.arch,
)

# An older version that stays, which its own name still gives.
_IS_KEPT = and_(BootResource.current_set_id.is_not(None), ResourceSet.retired_at.is_(None))


@dataclass(frozen=True, slots=True)
class Located:
    """What a name means just now.

    pinned_path: the same file by a name that never means anything else.
    set_id: the version's row.
    mtime_ns: the file's mtime when its bytes were last hashed; verified_at tells this
    copy of the bytes from an earlier one.
    modified: Unix time at which its version was complete; is_date_strong: no
    other version of the image was completed in that second. restriction: to whom the image
    is kept, None for everyone.
    """

    sha256: str
    size: int
    version: str
    pinned_path: str
    is_pinned: bool
    is_ready: bool
    set_id: int
    mtime_ns: int | None
    verified_at: datetime | None
    modified: int
    last_modified: str
    is_date_strong: bool
    restriction: Restriction | None = None


@dataclass(frozen=True)
class PublishedNames:
    """One reading of the publication: folder -> file name -> what it means."""

    serial: int
    folders: Mapping[str, Mapping[str, Located]]
    until: datetime | None  # when the first replaced version's grace time ends

    def locate(self, path: str) -> Located | None:
        """Find a name; only a whole published name matches."""
        folder, _, name = path.rpartition("/")
        files = self.folders.get(folder)
        return None if files is None else files.get(name)

    def locate_item(self, path: str) -> Located | None:
        """Find an item of the local mirror, ``sha256/DIGEST/FILE`` (rule: mirror-items)."""
        return self._items.get(path)

    @cached_property
    def _items(self) -> dict[str, Located]:
        """Every file of every version by digest and name; made when a reader first asks.

        One that's part of an image for everyone is for everyone.
        """
        files = [item for files in self.folders.values() for item in files.items()]
        files.sort(key=lambda item: item[1].restriction is None)
        return {f"sha256/{file.sha256}/{name}": file for name, file in files if file.is_pinned}


def image_path(
    os: str, arch: str, subarch: str, release: str, label: str, *, version: str = "", file: str = ""
) -> str:
    """The name below ``/images/``; an uploaded image without an OS belongs to ``custom``."""
    parts = (os or CUSTOM, arch, subarch, release, label, version, file)
    return "/".join(part for part in parts if part)


def restriction_of(networks: list[str] | None, macs: list[str] | None) -> Restriction | None:
    """What was joined by IS_KEPT_TO; None for an image without a row."""
    return None if networks is None else Restriction(tuple(networks), tuple(macs or ()))


# -- reading the publication


def read_names(
    connection: Connection, serial: int, grace: timedelta, now: datetime
) -> PublishedNames:
    """Build the names from the database in one statement, however many there are."""
    rows: Iterable[Row[Any]] = connection.execute(
        select(*_COLUMNS)
        .join(ResourceSet, ResourceSet.resource_id == BootResource.id)
        .join(ResourceFile, ResourceFile.set_id == ResourceSet.id)
        .join(Blob, Blob.id == ResourceFile.blob_id)
        .outerjoin(ImageRestriction, IS_KEPT_TO)
        .where(
            ResourceSet.completed_at.is_not(None),
            or_(
                ResourceSet.id == BootResource.current_set_id,
                ResourceSet.retired_at > now - grace,
                and_(ResourceSet.retired_at.is_not(None), ResourceSet.fetched_at > now - grace),
                _IS_KEPT,
            ),
        )
        .order_by(BootResource.id, ResourceSet.id, ResourceFile.filename)
    )
    images = [_Image.of(list(group)) for _, group in groupby(rows, key=lambda row: row.resource_id)]
    retired = [s.leaving_at for image in images for s in image.sets if s.leaving_at]
    return PublishedNames(serial, build_folders(images), min(retired) + grace if retired else None)


@dataclass(frozen=True)
class _Set:
    version: str
    label: str
    is_current: bool
    completed_at: datetime
    leaving_at: datetime | None  # when its grace time began, None if it stays
    files: list[Row[Any]]

    @classmethod
    def of(cls, files: list[Row[Any]]) -> _Set:
        first = files[0]
        is_current = first.set_id == first.current_set_id
        return cls(
            first.version,
            first.label,
            is_current,
            first.completed_at,
            None if is_current else _grace_began(first),
            files,
        )


def _grace_began(row: Row[Any]) -> datetime | None:
    """When a version was retired, or later, while machines still fetch it."""
    retired: datetime | None = row.retired_at
    return retired and max(retired, row.fetched_at or retired)


@dataclass(frozen=True)
class _Image:
    os: str
    arch: str
    subarch: str
    release: str
    kflavor: str
    answers_to: list[str]
    restriction: Restriction | None
    sets: list[_Set]

    @classmethod
    def of(cls, rows: list[Row[Any]]) -> _Image:
        first = rows[0]
        sets = [_Set.of(list(group)) for _, group in groupby(rows, key=lambda row: row.set_id)]
        return cls(
            first.os,
            first.arch,
            first.subarch,
            first.release,
            first.kflavor,
            first.answers_to or [],
            restriction_of(first.networks, first.macs),
            sets,
        )

    def folder(self, subarch: str, found: _Set, *, is_pinned: bool) -> str:
        """A folder name as it comes out of a WSGI environ: UTF-8 read as Latin-1."""
        version = found.version if is_pinned else ""
        path = image_path(self.os, self.arch, subarch, self.release, found.label, version=version)
        return path.encode().decode("latin-1")

    @property
    def precedence(self) -> tuple[bool, bool, str]:
        """Which of several images answers to a name that none of them owns."""
        is_replaced = not any(s.is_current for s in self.sets)
        return (is_replaced, self.kflavor not in ("", "generic"), self.subarch)


_NamedSet = tuple[_Set, dict[str, Located], dict[str, Located]]  # with its files, pinned and not


def build_folders(images: Iterable[_Image]) -> dict[str, dict[str, Located]]:
    """Give every image its own name first, then the names that it answers to.

    An image never answers to a name that another one owns, and if several answer
    to a free name, one of them gets all of it: otherwise the kernel and the
    root of one version could come from two different images.
    """
    ordered = sorted(images, key=lambda image: image.precedence)
    prepared = [(image, [(s, *_file_maps(image, s)) for s in image.sets]) for image in ordered]
    folders: dict[str, dict[str, Located]] = {}
    owners: dict[str, int] = {}

    def claims(number: int, name: str) -> bool:
        return owners.setdefault(name, number) == number

    def publish(image: _Image, subarch: str, named: _NamedSet) -> None:
        found, pinned, floating = named
        if found.is_current:
            folders.setdefault(image.folder(subarch, found, is_pinned=False), floating)
        folders.setdefault(image.folder(subarch, found, is_pinned=True), pinned)

    for number, (image, sets) in enumerate(prepared):
        for named in sets:
            name = image.folder(image.subarch, named[0], is_pinned=False)
            if not named[0].is_current or claims(number, name):
                publish(image, image.subarch, named)
    for number, (image, sets) in enumerate(prepared):
        for subarch, named in product(image.answers_to, sets):
            if claims(number, image.folder(subarch, named[0], is_pinned=False)):
                publish(image, subarch, named)
    return folders


def _file_maps(image: _Image, found: _Set) -> tuple[dict[str, Located], dict[str, Located]]:
    """File name -> meaning, pinned and not; a file type serves as a name where it is unique."""
    second = int(found.completed_at.timestamp())
    others = [s for s in image.sets if s is not found]
    is_date_strong = all(int(s.completed_at.timestamp()) != second for s in others)
    folder = image_path(
        image.os, image.arch, image.subarch, image.release, found.label, version=found.version
    )
    maps: tuple[dict[str, Located], dict[str, Located]] = ({}, {})
    for is_pinned, files in zip((True, False), maps, strict=True):
        for row, name in _names_of(found.files):
            files[name.encode().decode("latin-1")] = Located(
                sha256=row.sha256,
                size=row.size,
                version=found.version,
                pinned_path=quote(f"{folder}/{row.filename}", safe="/:@!$&'()*+,;=~"),
                is_pinned=is_pinned,
                set_id=row.set_id,
                is_ready=row.state == BlobState.READY,
                mtime_ns=row.mtime_ns,
                verified_at=row.verified_at,
                modified=second,
                last_modified=formatdate(second, usegmt=True),
                is_date_strong=is_pinned or is_date_strong,
                restriction=image.restriction,
            )
    return maps


def _names_of(rows: list[Row[Any]]) -> Iterator[tuple[Row[Any], str]]:
    ftypes = [row.ftype for row in rows]
    filenames = {row.filename for row in rows}
    for row in rows:
        yield row, row.filename
        if row.ftype not in filenames and ftypes.count(row.ftype) == 1:
            yield row, row.ftype
