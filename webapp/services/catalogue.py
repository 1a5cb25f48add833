# SPDX-License-Identifier: Apache-2.0
"""What can be selected, as a page shows it: releases x architectures with bytes.

``read`` makes the few queries, ``picture`` and ``pending`` decide, without any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import Blob, BootResource, BootSource, BootSourceCache
from webapp.services import selections
from webapp.services.selections import Pick
from webapp.streams.documents import version_key
from webapp.streams.osnames import is_lts, order_key, os_title

ARCH_ORDER = ("amd64", "arm64", "armhf", "i386", "ppc64el", "s390x", "riscv64")


@dataclass(frozen=True)
class Row:
    """The columns of one catalogue product that the picture needs."""

    source_id: int
    os: str
    arch: str
    release: str
    version: str
    title: str
    release_title: str
    release_codename: str
    release_version: str
    support_eol: date | None
    support_esm_eol: date | None
    bootloader_type: str
    items: list[dict[str, Any]]


@dataclass(frozen=True)
class Box:
    """One architecture of a release: a box to tick.

    size: bytes of all its distinct files; new_size: of those not stored yet.
    others: names of further sources that offer the same and lose by priority.
    """

    pick: Pick
    title: str
    is_ticked: bool
    is_stored: bool
    version: str
    size: int
    new_size: int
    source_name: str
    others: tuple[str, ...]
    digests: Mapping[str, int]

    @property
    def value(self) -> str:
        """What the form sends for it."""
        return value_of(self.pick)


@dataclass(frozen=True)
class Release:
    """One release of an operating system with its boxes by architecture."""

    os: str
    release: str
    os_title: str
    title: str
    is_lts: bool
    support_eol: date | None
    support_esm_eol: date | None
    is_past_eol: bool
    boxes: Mapping[str, Box]


@dataclass(frozen=True)
class Picture:
    """Everything on offer: Ubuntu as a grid, the other systems beside it."""

    arches: tuple[str, ...]  # columns of the Ubuntu grid
    ubuntu: tuple[Release, ...]
    others: tuple[Release, ...]
    stored_digests: frozenset[str]

    @property
    def boxes(self) -> list[Box]:
        """Every box there is."""
        return [box for rel in (*self.ubuntu, *self.others) for box in rel.boxes.values()]


@dataclass(frozen=True)
class Pending:
    """What saving would change: picks added and removed, bytes to fetch and to free."""

    added: tuple[Box, ...]
    removed: tuple[Box, ...]
    new_bytes: int
    freed_bytes: int

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def value_of(pick: Pick) -> str:
    """A pick as the value of its box."""
    return f"{pick.source_id}/{pick.os}/{pick.release}/{pick.arch}"


def parse_value(value: str) -> Pick | None:
    """The pick of a box's value, None for what no page of ours has sent."""
    parts = value.split("/")
    if len(parts) != 4 or not parts[0].isascii() or not parts[0].isdigit() or len(parts[0]) > 9:
        return None
    return Pick(int(parts[0]), *parts[1:])


def read(today: date) -> Picture:
    """The picture of the whole catalogue, in five queries whatever its size."""
    names = [name for name in Row.__dataclass_fields__]
    rows = db.session.execute(
        select(*(getattr(BootSourceCache, name) for name in names))
        .join(BootSource, BootSource.id == BootSourceCache.source_id)
        .where(BootSource.is_enabled, BootSourceCache.bootloader_type == "")
        .order_by(BootSource.priority.desc(), BootSource.id, BootSourceCache.product)
    )
    sources = {
        source.id: source.name or source.url for source in db.session.scalars(select(BootSource))
    }
    ready = db.session.scalars(select(Blob.sha256).where(Blob.state == "ready"))
    stored = db.session.execute(
        select(BootResource.os, BootResource.release, BootResource.arch)
        .where(BootResource.current_set_id.is_not(None))
        .distinct()
    )
    return picture(
        [Row(*row) for row in rows],
        sources,
        selections.picks(),
        frozenset(ready),
        {(row.os, row.release, row.arch) for row in stored},
        today,
    )


def picture(
    rows: Iterable[Row],
    source_names: Mapping[int, str],
    ticked: set[Pick],
    ready: frozenset[str],
    stored: set[tuple[str, str, str]],
    today: date,
) -> Picture:
    """Arrange catalogue rows (best source first) into releases and boxes.

    The box of an image belongs to the source that is selected for it already,
    else to the first one that offers it.
    """
    groups: dict[tuple[str, str], dict[str, dict[int, list[Row]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        groups[row.os, row.release][row.arch][row.source_id].append(row)
    samples = {key: next(iter(arches.values())) for key, arches in groups.items()}
    releases = [
        _release(*key, groups[key], source_names, ticked, ready, stored, today)
        for key in sorted(groups, key=lambda key: order_key(next(iter(samples[key].values()))[0]))
    ]
    ubuntu = [release for release in releases if release.os == "ubuntu"]
    others = [release for release in releases if release.os != "ubuntu"]
    used = {arch for release in ubuntu for arch in release.boxes}
    known = [arch for arch in ARCH_ORDER if arch in used]
    return Picture(
        arches=(*known, *sorted(used - set(known))),
        ubuntu=tuple(ubuntu),
        others=tuple(others),
        stored_digests=ready,
    )


def pending(picture: Picture, ticked: set[Pick]) -> Pending:
    """What would change if exactly these boxes were ticked."""
    boxes = picture.boxes
    added = tuple(b for b in boxes if b.pick in ticked and not b.is_ticked)
    removed = tuple(b for b in boxes if b.pick not in ticked and b.is_ticked)
    kept: dict[str, int] = {}
    for box in boxes:
        if box.pick in ticked:
            kept |= box.digests
    gone: dict[str, int] = {}
    for box in removed:
        gone |= box.digests
    fresh = {d: size for box in added for d, size in box.digests.items()}
    return Pending(
        added=added,
        removed=removed,
        new_bytes=sum(size for d, size in fresh.items() if d not in picture.stored_digests),
        freed_bytes=sum(
            size
            for digest, size in gone.items()
            if digest not in kept and digest in picture.stored_digests
        ),
    )


def _release(
    os: str,
    release: str,
    arches: Mapping[str, Mapping[int, list[Row]]],
    source_names: Mapping[int, str],
    ticked: set[Pick],
    ready: frozenset[str],
    stored: set[tuple[str, str, str]],
    today: date,
) -> Release:
    boxes = {}
    sample = next(iter(next(iter(arches.values())).values()))[0]
    title = sample.title or f"{os}/{release}"
    for arch, by_source in sorted(arches.items()):
        candidates = list(by_source)
        chosen = next(
            (s for s in candidates if Pick(s, os, release, arch) in ticked), candidates[0]
        )
        pick = Pick(chosen, os, release, arch)
        digests = {item["sha256"]: item["size"] for row in by_source[chosen] for item in row.items}
        boxes[arch] = Box(
            pick=pick,
            title=title,
            is_ticked=pick in ticked,
            is_stored=(os, release, arch) in stored,
            version=max((row.version for row in by_source[chosen]), key=version_key),
            size=sum(digests.values()),
            new_size=sum(size for d, size in digests.items() if d not in ready),
            source_name=source_names[chosen],
            others=tuple(source_names[s] for s in candidates if s != chosen),
            digests=digests,
        )
    eol = sample.support_eol
    return Release(
        os=os,
        release=release,
        os_title=os_title(os),
        title=title,
        is_lts=is_lts(sample.release_title),
        support_eol=eol,
        support_esm_eol=sample.support_esm_eol,
        is_past_eol=eol is not None and eol < today,
        boxes=boxes,
    )
