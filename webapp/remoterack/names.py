# SPDX-License-Identifier: Apache-2.0
"""The names that machines may ask for, built from a region's signed list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import formatdate

from webapp.remoterack.filling import Wanted
from webapp.services.images.published import Located, PublishedNames
from webapp.streams.racks import RackDocument, RackFile, RackSet

EVERYTHING, CHOSEN, ON_DEMAND = "everything", "chosen", "on-demand"


def build(
    document: RackDocument, replaced: Sequence[tuple[datetime, Iterable[RackSet]]], serial: int
) -> PublishedNames:
    """Every name of the state in force, and the pinned ones of those that it replaced.

    replaced: states whose grace time isn't over, with the time when it ends. Who may have
    an image is as the state in force says (rule: kept-images).
    """
    folders: dict[str, dict[str, Located]] = {}
    number = 0
    for number, one in enumerate(document.sets, 1):
        for folder in one.current:
            folders[folder] = _files(one, number, is_pinned=False)
        for folder in one.pinned:
            folders[folder] = _files(one, number, is_pinned=True)
    for _, old in replaced:
        for one in _permitted(document, old):
            number += 1
            for folder in one.pinned:
                folders.setdefault(folder, _files(one, number, is_pinned=True))
    until = min((end for end, _ in replaced), default=None)
    return PublishedNames(serial, folders, until)


def _permitted(document: RackDocument, old: Iterable[RackSet]) -> Iterator[RackSet]:
    """The sets of a replaced state, with the restrictions in force.

    Where a rack can't know the restriction of an image, the image is for no one.
    """
    known = document.restrictions
    are_open = {one.image for one in document.sets if one.restriction is None}
    for one in old:
        if known and one.image in known:
            yield replace(one, restriction=known[one.image])
        elif known == {} or (one.image and (known or one.image in are_open)):
            yield one


def _files(one: RackSet, number: int, *, is_pinned: bool) -> dict[str, Located]:
    return {
        name: Located(
            sha256=file.sha256,
            size=file.size,
            version=one.version,
            pinned_path=file.path,
            is_pinned=is_pinned,
            is_ready=True,
            set_id=number,
            mtime_ns=None,
            verified_at=None,
            modified=one.completed,
            last_modified=formatdate(one.completed, usegmt=True),
            # Another version may be of the same second, and isn't listed.
            is_date_strong=is_pinned,
            restriction=one.restriction,
        )
        for name, file in one.files.items()
    }


def wanted_of(found: Located | RackFile, *, is_restricted: bool = False) -> Wanted:
    """The file as an item of the mirror (rule: mirror-items)."""
    if isinstance(found, Located):
        path, is_restricted = found.pinned_path, found.restriction is not None
    else:
        path = found.path
    name = path.rpartition("/")[2]
    return Wanted(found.sha256, found.size, f"sha256/{found.sha256}/{name}", is_restricted)


def in_advance(sets: Iterable[RackSet], mode: str, images: Iterable[str]) -> Iterator[Wanted]:
    """What a rack fetches before a machine asks: current versions, each file once."""
    if mode == ON_DEMAND:
        return
    chosen = set(images)
    seen: set[str] = set()
    for one in sets:
        if not one.current or (mode == CHOSEN and one.image not in chosen):
            continue
        for file in one.files.values():
            if file.sha256 not in seen:
                seen.add(file.sha256)
                yield wanted_of(file, is_restricted=one.restriction is not None)


def digests(names: PublishedNames) -> Mapping[str, int]:
    """Digest -> size of all that names mean."""
    return {one.sha256: one.size for files in names.folders.values() for one in files.values()}


def grace_of(replaced_at: datetime, seconds: int) -> datetime:
    """When the pinned names of a replaced state end."""
    return replaced_at + timedelta(seconds=seconds)
