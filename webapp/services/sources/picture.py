# SPDX-License-Identifier: Apache-2.0
"""The catalogue as a page shows it: releases x architectures x kernels, with bytes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

from webapp import numbers
from webapp.services.sources.rules import Effect
from webapp.services.sources.selections import Line, Pick
from webapp.streams import kernels
from webapp.streams.documents import version_key
from webapp.streams.filters import ANY
from webapp.streams.offers import ImageName
from webapp.streams.osnames import is_lts, order_key, os_title, release_title

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
    subarch: str
    answers_to: Sequence[str]
    files: Mapping[str, int]  # digest -> bytes


@dataclass(frozen=True)
class Kernel:
    """One kernel of an image with all its files: digest -> bytes."""

    name: str
    version: str
    answers_to: tuple[str, ...]
    files: Mapping[str, int]

    def is_among(self, chosen: Collection[str]) -> bool:
        """Whether a choice of kernels has it (rule: selection-filters)."""
        return ANY in chosen or not set(chosen).isdisjoint(self.answers_to)


@dataclass(frozen=True)
class Box:
    """One architecture of a release: a checkbox.

    kernels: all that its source offers; chosen: the names that its selection has, ``*`` for
    all. size: bytes of all distinct files of those; new_size: of what isn't stored yet.
    others: names of further sources that offer the same and lose by priority;
    other_picks: the same image from each of them. is_locked: no import removes it.
    rules: titles of the rules that select it too, with these ruled_kernels of it.
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
    kernels: tuple[Kernel, ...] = ()
    chosen: tuple[str, ...] = (ANY,)
    is_locked: bool = False
    rules: tuple[str, ...] = ()
    ruled_kernels: tuple[str, ...] = ()

    @property
    def is_wanted(self) -> bool:
        """Whether a person or a rule selects it."""
        return self.is_selected or bool(self.rules)

    @property
    def value(self) -> str:
        """What the form sends for it."""
        return value_of(self.pick)

    @property
    def line(self) -> Line:
        """The selection that it belongs to."""
        return self.pick.source_id, self.pick.os, self.pick.release

    @property
    def kept_kernels(self) -> tuple[Kernel, ...]:
        """Those of its kernels that are chosen, and those that rules select."""
        chosen = self.chosen if self.is_selected or not self.rules else ()
        names = {*chosen, *self.ruled_kernels}
        return tuple(kernel for kernel in self.kernels if kernel.is_among(names))

    def with_kernels(self, chosen: Iterable[str], ready: Collection[str]) -> Box:
        """The same box with a choice of kernels, and its bytes."""
        made = replace(self, chosen=tuple(chosen))
        digests = {d: size for kernel in made.kept_kernels for d, size in kernel.files.items()}
        new_size = sum(size for digest, size in digests.items() if digest not in ready)
        return replace(made, digests=digests, size=sum(digests.values()), new_size=new_size)


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
        return any(box.is_wanted or box.is_stored for box in self.boxes.values())

    @property
    def kernels(self) -> tuple[str, ...]:
        """The names of the kernels of all its architectures, in their order."""
        names = {kernel.name for box in self.boxes.values() for kernel in box.kernels}
        return tuple(sorted(names, key=kernels.order_key))

    @property
    def chosen_kernels(self) -> tuple[str, ...]:
        """Those of them that its selection or a rule has."""
        kept = {kernel.name for box in self.boxes.values() for kernel in box.kept_kernels}
        return tuple(name for name in self.kernels if name in kept)

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
    ruled: the titles of the rules that select an image, offered or not.
    """

    arches: tuple[str, ...]  # columns of the Ubuntu grid
    ubuntu: tuple[Release, ...]
    others: tuple[Release, ...]
    missing: tuple[Box, ...]
    stored: Mapping[ImageName, Mapping[str, int]]
    ready: frozenset[str]  # digests of all whole blobs
    locked: frozenset[ImageName] = frozenset()
    ruled: Mapping[ImageName, tuple[str, ...]] = field(default_factory=dict)

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


def picture(
    rows: Iterable[Row],
    source_names: Mapping[int, str],
    selected: set[Pick],
    ready: frozenset[str],
    stored: Mapping[ImageName, Mapping[str, int]],
    today: date,
    chosen: Mapping[Line, tuple[str, ...]] | None = None,
    ruled: Effect | None = None,
) -> Picture:
    """Arrange catalogue rows (best source first) into releases and boxes.

    The box of an image belongs to the source that is selected for it already,
    else to the first one that offers it. chosen: the kernels of each selection.
    ruled: what rules select.
    """
    ruled = ruled or Effect()
    groups: dict[tuple[str, str], dict[str, dict[int, list[Row]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    offered: set[Pick] = set()
    for row in rows:
        groups[row.os, row.release][row.arch][row.source_id].append(row)
        offered.add(Pick(row.source_id, row.os, row.release, row.arch))
    samples = {key: next(iter(arches.values())) for key, arches in groups.items()}
    releases = [
        _release(
            *key, groups[key], source_names, selected, ready, stored, today, chosen or {}, ruled
        )
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
        ruled=ruled.titles,
    )


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
    stored: Mapping[ImageName, Mapping[str, int]],
    today: date,
    kernels_of: Mapping[Line, tuple[str, ...]],
    ruled: Effect,
) -> Release:
    boxes = {}
    sample = next(iter(next(iter(arches.values())).values()))[0]
    title = sample.title or f"{os}/{release}"
    for arch, by_source in sorted(arches.items()):
        candidates = list(by_source)
        source_id = next(
            (s for s in candidates if Pick(s, os, release, arch) in selected), candidates[0]
        )
        pick = Pick(source_id, os, release, arch)
        everywhere = (ruled.kernels.get(Pick(s, os, release, arch), ()) for s in candidates)
        ruled_kernels = {name for names in everywhere for name in names}
        box = Box(
            pick=pick,
            title=title,
            is_selected=pick in selected,
            is_stored=(os, release, arch) in stored,
            version=max((row.version for row in by_source[source_id]), key=version_key),
            size=0,
            new_size=0,
            source_name=source_names[source_id],
            others=tuple(source_names[s] for s in candidates if s != source_id),
            other_picks=tuple(Pick(s, os, release, arch) for s in candidates if s != source_id),
            kernels=_kernels(by_source[source_id]),
            rules=ruled.titles.get((os, release, arch), ()),
            ruled_kernels=tuple(sorted(ruled_kernels)),
        )
        chosen = kernels_of.get((source_id, os, release), (ANY,))
        boxes[arch] = box.with_kernels(chosen, ready)
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


def _kernels(rows: Iterable[Row]) -> tuple[Kernel, ...]:
    """The kernels of an image in their order; of several labels the newest version counts."""
    newest: dict[str, Row] = {}
    for row in rows:
        known = newest.setdefault(row.subarch, row)
        if version_key(known.version) < version_key(row.version):
            newest[row.subarch] = row
    found = (Kernel(r.subarch, r.version, tuple(r.answers_to), r.files) for r in newest.values())
    return tuple(sorted(found, key=lambda kernel: kernels.order_key(kernel.name)))


def _missing(pick: Pick, source_names: Mapping[int, str], stored: Collection[ImageName]) -> Box:
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
