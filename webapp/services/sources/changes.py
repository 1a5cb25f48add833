# SPDX-License-Identifier: Apache-2.0
"""What ticking boxes means: what is added, removed, fetched and freed. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from webapp.services.sources.catalogue import Box, Image, Picture, value_of
from webapp.services.sources.selections import Pick


@dataclass(frozen=True)
class Pending:
    """What saving would change: picks added and removed, bytes to fetch and to free."""

    added: tuple[Box, ...]
    removed: tuple[Box, ...]
    new_bytes: int
    freed_bytes: int
    loses_last_lts: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    @property
    def digest(self) -> str:
        """Names this set of changes, so that a confirmation cannot mean another one."""
        return _digest(
            [*(f"+{box.value}" for box in self.added), *(f"-{box.value}" for box in self.removed)]
        )

    @property
    def stored(self) -> tuple[Box, ...]:
        """Those that are deleted: machines boot from them today, and no lock keeps them."""
        return tuple(box for box in self.removed if box.is_stored and not box.is_locked)


def resolved(picture: Picture, picks: Iterable[Pick]) -> set[Pick]:
    """The boxes that picks of a form mean; what the picture does not have means nothing.

    A pick of a source that has lost since the form was shown means the winner's box.
    """
    known = {pick: box.pick for box in picture.boxes for pick in (box.pick, *box.other_picks)}
    return {known[pick] for pick in picks if pick in known}


def spoken_for(picture: Picture, selected: Collection[Pick]) -> set[Pick]:
    """Every pick that a page's boxes decide on: an deselected box speaks for all its sources."""
    boxes = picture.boxes
    losing = {pick for box in boxes if box.pick not in selected for pick in box.other_picks}
    return {box.pick for box in boxes} | losing


def suggested(picture: Picture, release: str) -> set[Pick]:
    """What to begin with while nothing is selected or stored: that Ubuntu release for amd64."""
    if any(box.is_selected or box.is_stored for box in picture.boxes):
        return set()
    found = (rel.boxes.get("amd64") for rel in picture.ubuntu if rel.release == release)
    return {box.pick for box in found if box}


def pending(picture: Picture, selected: set[Pick]) -> Pending:
    """What would change if exactly these boxes were selected."""
    boxes = picture.boxes
    added = tuple(b for b in boxes if b.pick in selected and not b.is_selected)
    removed = tuple(b for b in boxes if b.pick not in selected and b.is_selected)
    fresh = {d: size for box in added for d, size in box.digests.items()}
    leaving = {_image(box) for box in removed if not box.is_locked}
    gone = {d: s for image in leaving for d, s in picture.stored.get(image, {}).items()}
    staying = {d for image, files in picture.stored.items() if image not in leaving for d in files}
    needed = {d for box in boxes if box.pick in selected for d in box.digests}
    lts = {box.pick for rel in picture.ubuntu if rel.is_lts for box in rel.boxes.values()}
    return Pending(
        added=added,
        removed=removed,
        new_bytes=sum(size for d, size in fresh.items() if d not in picture.ready),
        freed_bytes=sum(size for d, size in gone.items() if d not in staying | needed),
        loses_last_lts=bool(lts & picture.selected) and not lts & selected,
    )


def _image(box: Box) -> Image:
    return box.pick.os, box.pick.release, box.pick.arch


def base_of(picture: Picture) -> str:
    """Names what is selected, so that a page that is out of date shows."""
    return _digest(sorted(value_of(pick) for pick in picture.selected))


def _digest(values: Iterable[str]) -> str:
    return hashlib.sha256("|".join(values).encode()).hexdigest()[:16]
