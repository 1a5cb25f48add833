# SPDX-License-Identifier: Apache-2.0
"""What can be selected, as a page shows it: releases x architectures with bytes.

``read`` makes the few queries, ``picture`` arranges what they gave, without any.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache

from sqlalchemy import Text, cast, or_, select

from webapp import numbers
from webapp.extensions import db
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    BootSource,
    BootSourceCache,
    ResourceFile,
    ResourceSet,
)
from webapp.services.sources import selections
from webapp.services.sources.selections import Pick
from webapp.streams.documents import version_key
from webapp.streams.mapping import Offer
from webapp.streams.osnames import is_lts, order_key, os_title, release_title

Image = tuple[str, str, str]  # os, release, architecture
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
    files: Mapping[str, int]  # digest -> bytes


@dataclass(frozen=True)
class Box:
    """One architecture of a release: a checkbox.

    size: bytes of all its distinct files; new_size: of those not stored yet.
    others: names of further sources that offer the same and lose by priority;
    other_picks: the same image from each of them. is_locked: no import removes it.
    """

    pick: Pick
    title: str
    is_selected: bool
    is_stored: bool
    version: str
    size: int
    new_size: int
    source_name: str
    others: tuple[str, ...] = ()
    other_picks: tuple[Pick, ...] = ()
    digests: Mapping[str, int] = field(default_factory=dict)
    is_locked: bool = False

    @property
    def value(self) -> str:
        """What the form sends for it."""
        return value_of(self.pick)


@dataclass(frozen=True)
class Release:
    """One release of an operating system with its boxes by architecture.

    name: the title without the system's name, e.g. ``24.04 LTS``.
    """

    os: str
    release: str
    os_title: str
    title: str
    name: str
    codename: str
    is_lts: bool
    support_eol: date | None
    support_esm_eol: date | None
    is_past_eol: bool
    boxes: Mapping[str, Box]

    @property
    def is_in_use(self) -> bool:
        """Whether some of it is selected or stored."""
        return any(box.is_selected or box.is_stored for box in self.boxes.values())

    @property
    def won_by(self) -> tuple[str, ...]:
        """The sources that it comes from, when others offer it as well."""
        is_contested = any(box.others for box in self.boxes.values())
        names = {box.source_name for box in self.boxes.values()}
        return tuple(sorted(names)) if is_contested else ()


@dataclass(frozen=True)
class Picture:
    """Everything on offer: Ubuntu as a grid, the other systems beside it.

    missing: what is selected though no source that is turned on offers it.
    stored: what machines get now, as digest and size of every file of an image.
    """

    arches: tuple[str, ...]  # columns of the Ubuntu grid
    ubuntu: tuple[Release, ...]
    others: tuple[Release, ...]
    missing: tuple[Box, ...]
    stored: Mapping[Image, Mapping[str, int]]
    ready: frozenset[str]  # digests of all whole blobs
    locked: frozenset[Image] = frozenset()

    @property
    def releases(self) -> tuple[Release, ...]:
        """Every release on offer, in the order of the page."""
        return (*self.ubuntu, *self.others)

    @cached_property
    def boxes(self) -> list[Box]:
        """Every box there is."""
        boxes = [*(box for rel in self.releases for box in rel.boxes.values()), *self.missing]
        if not self.locked:
            return boxes
        names = [(box.pick.os, box.pick.release, box.pick.arch) for box in boxes]
        return [
            replace(box, is_locked=name in self.locked)
            for box, name in zip(boxes, names, strict=True)
        ]

    @cached_property
    def selected(self) -> set[Pick]:
        """The boxes that are selected now."""
        return {box.pick for box in self.boxes if box.is_selected}


@dataclass(frozen=True)
class OfferedRelease:
    """One line of a preview: a release with its architectures and their bytes together."""

    title: str
    arches: tuple[str, ...]
    size: int


def value_of(pick: Pick) -> str:
    """A pick as the value of its box."""
    return f"{pick.source_id}/{pick.os}/{pick.release}/{pick.arch}"


def parse_value(value: str) -> Pick | None:
    """The pick of a box's value, None for what no page of ours has sent."""
    parts = value.split("/")
    source_id = numbers.whole(parts[0], digits=9)
    if len(parts) != 4 or source_id is None:
        return None
    return Pick(source_id, *parts[1:])


def read(today: date | None = None) -> Picture:
    """The picture of the whole catalogue, in six queries whatever its size.

    today: decides what is past its end of support; the current date in UTC by default.
    """
    names = [name for name in Row.__dataclass_fields__ if name != "files"]
    rows = db.session.execute(
        select(
            *(getattr(BootSourceCache, name) for name in names), cast(BootSourceCache.items, Text)
        )
        .join(BootSource, BootSource.id == BootSourceCache.source_id)
        .where(BootSource.is_enabled, BootSourceCache.bootloader_type == "")
        .order_by(BootSource.priority.desc(), BootSource.id, BootSourceCache.product)
    )
    sources = {
        source.id: source.name or source.url for source in db.session.scalars(select(BootSource))
    }
    ready = db.session.scalars(select(Blob.sha256).where(Blob.state == BlobState.READY))
    found = picture(
        [Row(*(*columns, _files(items))) for *columns, items in rows],
        sources,
        selections.picks(),
        frozenset(ready),
        _stored(),
        today or datetime.now(UTC).date(),
    )
    return replace(found, locked=_locked())


@lru_cache(maxsize=4096)
def _files(items: str) -> Mapping[str, int]:
    """The digests and sizes of a product's items; the same text is parsed once a process."""
    return {item["sha256"]: item["size"] for item in json.loads(items)}


def _stored() -> dict[Image, dict[str, int]]:
    rows = db.session.execute(
        select(BootResource.os, BootResource.release, BootResource.arch, Blob.sha256, Blob.size)
        .join(ResourceFile, ResourceFile.set_id == BootResource.current_set_id)
        .join(Blob, Blob.id == ResourceFile.blob_id)
    )
    found: dict[Image, dict[str, int]] = defaultdict(dict)
    for os, release, arch, sha256, size in rows:
        found[os, release, arch][sha256] = size
    return dict(found)


def _locked() -> frozenset[Image]:
    """Images of which a lock keeps something."""
    rows = db.session.execute(
        select(BootResource.os, BootResource.release, BootResource.arch)
        .outerjoin(ResourceSet, ResourceSet.resource_id == BootResource.id)
        .where(or_(BootResource.locked_at.is_not(None), ResourceSet.locked_at.is_not(None)))
    )
    return frozenset((os, release, arch) for os, release, arch in rows)


def picture(
    rows: Iterable[Row],
    source_names: Mapping[int, str],
    selected: set[Pick],
    ready: frozenset[str],
    stored: Mapping[Image, Mapping[str, int]],
    today: date,
) -> Picture:
    """Arrange catalogue rows (best source first) into releases and boxes.

    The box of an image belongs to the source that is selected for it already,
    else to the first one that offers it.
    """
    groups: dict[tuple[str, str], dict[str, dict[int, list[Row]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    offered: set[Pick] = set()
    for row in rows:
        groups[row.os, row.release][row.arch][row.source_id].append(row)
        offered.add(Pick(row.source_id, row.os, row.release, row.arch))
    samples = {key: next(iter(arches.values())) for key, arches in groups.items()}
    releases = [
        _release(*key, groups[key], source_names, selected, ready, stored, today)
        for key in sorted(groups, key=lambda key: order_key(next(iter(samples[key].values()))[0]))
    ]
    ubuntu = [release for release in releases if release.os == "ubuntu"]
    others = [release for release in releases if release.os != "ubuntu"]
    used = {arch for release in ubuntu for arch in release.boxes}
    return Picture(
        arches=tuple(sorted(used, key=arch_order)),
        ubuntu=tuple(ubuntu),
        others=tuple(others),
        missing=tuple(_missing(pick, source_names, stored) for pick in sorted(selected - offered)),
        stored=stored,
        ready=ready,
    )


def offered(offers: Iterable[Offer]) -> list[OfferedRelease]:
    """What a source would bring, release by release in the order of the page."""
    groups: dict[tuple[str, str], list[Offer]] = defaultdict(list)
    for offer in sorted(offers, key=order_key):
        if not offer.bootloader_type:
            groups[offer.os, offer.release].append(offer)
    return [
        OfferedRelease(
            title=group[0].title or f"{os}/{release}",
            arches=tuple(sorted({offer.arch for offer in group}, key=arch_order)),
            size=sum({i.sha256: i.size for offer in group for i in offer.items}.values()),
        )
        for (os, release), group in groups.items()
    ]


def titles() -> dict[str, str]:
    """The title of every image on offer, by its name."""
    columns = (BootSourceCache.os, BootSourceCache.release, BootSourceCache.title)
    rows = db.session.execute(select(*columns).distinct())
    return {f"{os}/{release}": title for os, release, title in rows if title}


def arch_order(arch: str) -> tuple[int, str]:
    """Sort key of architectures: those that most machines have first."""
    place = ARCH_ORDER.index(arch) if arch in ARCH_ORDER else len(ARCH_ORDER)
    return place, arch


def _release(
    os: str,
    release: str,
    arches: Mapping[str, Mapping[int, list[Row]]],
    source_names: Mapping[int, str],
    selected: set[Pick],
    ready: frozenset[str],
    stored: Mapping[Image, Mapping[str, int]],
    today: date,
) -> Release:
    boxes = {}
    sample = next(iter(next(iter(arches.values())).values()))[0]
    title = sample.title or f"{os}/{release}"
    for arch, by_source in sorted(arches.items()):
        candidates = list(by_source)
        chosen = next(
            (s for s in candidates if Pick(s, os, release, arch) in selected), candidates[0]
        )
        pick = Pick(chosen, os, release, arch)
        digests = {d: size for row in by_source[chosen] for d, size in row.files.items()}
        boxes[arch] = Box(
            pick=pick,
            title=title,
            is_selected=pick in selected,
            is_stored=(os, release, arch) in stored,
            version=max((row.version for row in by_source[chosen]), key=version_key),
            size=sum(digests.values()),
            new_size=sum(size for d, size in digests.items() if d not in ready),
            source_name=source_names[chosen],
            others=tuple(source_names[s] for s in candidates if s != chosen),
            other_picks=tuple(Pick(s, os, release, arch) for s in candidates if s != chosen),
            digests=digests,
        )
    eol = sample.support_eol
    return Release(
        os=os,
        release=release,
        os_title=os_title(os),
        title=title,
        name=sample.release_title or title,
        codename=sample.release_codename,
        is_lts=is_lts(sample.release_title),
        support_eol=eol,
        support_esm_eol=sample.support_esm_eol,
        is_past_eol=eol is not None and eol < today,
        boxes=boxes,
    )


def _missing(pick: Pick, source_names: Mapping[int, str], stored: Collection[Image]) -> Box:
    return Box(
        pick=pick,
        title=release_title(pick.os, pick.release),
        is_selected=True,
        is_stored=(pick.os, pick.release, pick.arch) in stored,
        version="",
        size=0,
        new_size=0,
        source_name=source_names.get(pick.source_id, ""),
    )
