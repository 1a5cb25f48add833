# SPDX-License-Identifier: Apache-2.0
"""The values that planning works on: what sources say, what is stored, what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from webapp.errors import Problem
from webapp.models import Priority
from webapp.services.images.keys import Image, Key, PlannedSet
from webapp.services.sources.soaking import Hold, Soak
from webapp.services.sources.steps import Binding
from webapp.streams.filters import Wanted
from webapp.streams.mapping import Offer
from webapp.streams.offers import ImageName


@dataclass(frozen=True, slots=True)
class SourceState:
    """A boot source with its catalogue and its selections.

    is_fresh: it was read without a problem in this run. What an unread source
    offers and lacks proves nothing, so nothing is fetched or removed because of it.
    name: "" for one without.
    dropped: images that a rule stopped selecting, which no person decided.
    """

    id: int
    url: str
    priority: int
    is_enabled: bool
    is_fresh: bool
    offers: tuple[Offer, ...]
    wanted: tuple[Wanted, ...]
    name: str = ""
    soak: Soak = field(default_factory=Soak)
    dropped: frozenset[ImageName] = frozenset()

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.url

    @property
    def is_judged(self) -> bool:
        """Whether it may remove images; an empty stream may not (rule: never-empty-the-store)."""
        return self.is_enabled and self.is_fresh and bool(self.offers)


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A whole version of an image; ``files`` maps file names to digests."""

    version: str
    label: str
    files: Mapping[str, str]
    is_locked: bool = False


@dataclass(frozen=True, slots=True)
class StoredResource:
    """A boot resource that machines can get. It can be held against selections.

    kept: its older versions, which stay beside the current one. is_pinned: imports
    leave the current one as it is, unless they find pinned_version. lock: why it may not be
    removed, "" if it may.
    """

    id: int
    source_id: int | None
    os: str
    release: str
    arch: str
    subarch: str
    kflavor: str
    title: str
    bootloader_type: str
    is_rolling: bool
    is_uploaded: bool
    subarches: tuple[str, ...]
    answers_to: tuple[str, ...]
    gone_since: datetime | None
    current: StoredSet
    kept: tuple[StoredSet, ...] = ()
    is_pinned: bool = False
    pinned_version: str = ""
    lock: str = ""

    @property
    def key(self) -> Key:
        """Its name."""
        return Key(f"{self.os}/{self.release}", f"{self.arch}/{self.subarch}")

    @property
    def label(self) -> str:
        """The label of its current version."""
        return self.current.label


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What is known of some bytes. received: bytes of them that are in the store."""

    size: int
    is_ready: bool
    received: int = 0


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bad bytes that a version names which machines may still ask for."""

    sha256: str
    size: int
    key: Key
    version: str
    filename: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that is stored; blobs by digest, unfinished ones included.

    bindings: the images that have to come from one source. priorities: of the images for
    which someone set one.
    """

    resources: tuple[StoredResource, ...]
    blobs: Mapping[str, StoredBlob]
    damaged: tuple[Damaged, ...] = ()
    bindings: Mapping[ImageName, Binding] = field(default_factory=dict)
    priorities: Mapping[Image, Priority] = field(default_factory=dict)


class Location(NamedTuple):
    """Where bytes can be had."""

    source_id: int
    path: str


@dataclass(frozen=True, slots=True)
class PlannedBlob:
    """Bytes that a planned set needs. ``first`` names the first image that wants them.

    received: how many of them are here already; all of them when there is nothing
    to fetch. locations: where to get them, the best place first.
    """

    sha256: str
    size: int
    received: int
    is_ready: bool
    first: Key
    version: str
    filename: str
    locations: tuple[Location, ...]


@dataclass(frozen=True, slots=True)
class Retirement:
    """An image to stop serving once ``waits_for`` has been published.

    is_own: an administrator deselected it.
    """

    resource_id: int
    key: Key
    why: str
    waits_for: frozenset[Key] = frozenset()
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Untouched:
    """An image that stays as it is. is_gone: its source stopped offering it.

    update: the version that its source offers and a pin keeps away, "" if there's none.
    hold: the one that waits until it's old enough.
    """

    key: Key
    why: str
    resource_id: int | None = None
    is_gone: bool = False
    update: str = ""
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that cannot be done. key is None when it is about a whole source."""

    problem: Problem
    source_id: int | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import does. Sets and blobs are in the order of their fetching.

    waiting: images that go once a person has confirmed it.
    newly_gone: ids of resources to be marked as gone from their source.
    orphans: damaged files that no source offers.
    """

    sets: tuple[PlannedSet, ...] = ()
    blobs: tuple[PlannedBlob, ...] = ()
    retire: tuple[Retirement, ...] = ()
    waiting: tuple[Retirement, ...] = ()
    untouched: tuple[Untouched, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    newly_gone: tuple[int, ...] = ()
    orphans: tuple[Damaged, ...] = ()
    wanted: int = field(default=0)  # images that selections ask for and sources offer
    is_emptied: bool = field(default=False)  # an administrator deselected every image

    @property
    def to_fetch(self) -> tuple[PlannedBlob, ...]:
        """The blobs that are not whole yet."""
        return tuple(blob for blob in self.blobs if not blob.is_ready)

    @property
    def users(self) -> Mapping[str, frozenset[Image]]:
        """The images that want each digest."""
        found: dict[str, frozenset[Image]] = {}
        for planned in self.sets:
            for sha256 in planned.digests:
                found[sha256] = found.get(sha256, frozenset()) | {planned.key.image}
        return found

    @property
    def bytes_total(self) -> int:
        """Bytes of what is fetched, the parts that are here already included."""
        return sum(blob.size for blob in self.to_fetch)

    @property
    def bytes_needed(self) -> int:
        """Bytes that still have to come, and that the store must have room for."""
        return sum(blob.size - blob.received for blob in self.to_fetch)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.sets or self.blobs or self.retire or self.newly_gone or self.orphans)
