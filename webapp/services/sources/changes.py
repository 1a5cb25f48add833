# SPDX-License-Identifier: Apache-2.0
"""What ticking boxes and choosing kernels means: what is added, removed, fetched, freed. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from webapp.services.sources import kernels
from webapp.services.sources.kernels import KernelChange
from webapp.services.sources.picture import Box, Picture, value_of
from webapp.services.sources.selections import Line, Pick
from webapp.streams.offers import ImageName


@dataclass(frozen=True)
class Pending:
    """What saving would change: picks added and removed, bytes to fetch and to free.

    kernels: selections with another choice of them, and images whose kernels rules choose now.
    """

    added: tuple[Box, ...]
    removed: tuple[Box, ...]
    new_bytes: int
    freed_bytes: int
    loses_last_lts: bool = False
    kernels: tuple[KernelChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.kernels)

    @property
    def digest(self) -> str:
        """Names this set of changes, so that a confirmation cannot mean another one."""
        added = (f"+{box.value}" for box in self.added)
        removed = (f"-{box.value}" for box in self.removed)
        chosen = (f"{one.line}:{','.join(one.chosen)}:{one.lost}" for one in self.kernels)
        stored = (f"!{box.value}" for box in self.stored)
        return _digest([*added, *removed, *chosen, *stored])

    @property
    def deletes(self) -> bool:
        """Whether machines lose what they boot today."""
        return bool(self.stored) or any(one.lost for one in self.kernels)

    @property
    def stored(self) -> tuple[Box, ...]:
        """Those that are deleted: machines boot them today, and no lock and no rule keeps them."""
        kept = (box for box in self.removed if not box.is_locked and not box.rules)
        return tuple(box for box in kept if box.is_stored)


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
    if any(box.is_wanted or box.is_stored for box in picture.boxes):
        return set()
    found = (rel.boxes.get("amd64") for rel in picture.ubuntu if rel.release == release)
    return {box.pick for box in found if box}


def pending(
    picture: Picture, selected: set[Pick], chosen: Mapping[Line, tuple[str, ...]] | None = None
) -> Pending:
    """What would change if exactly these boxes were selected, with these choices of kernels."""
    boxes, chosen = picture.boxes, chosen or {}
    after = {box.pick: _selected(box, picture, chosen) for box in boxes if box.pick in selected}
    added = tuple(after[b.pick] for b in boxes if b.pick in selected and not b.is_selected)
    removed = tuple(b for b in boxes if b.pick not in selected and b.is_selected)
    kept = [(box, after[box.pick]) for box in boxes if box.pick in selected and box.is_selected]
    kept += [(b, _deselected(b, picture)) for b in removed if b.rules and not b.is_locked]
    fresh = {d: size for box in added for d, size in box.digests.items()}
    fresh |= {d: s for old, new in kept for d, s in new.digests.items() if d not in old.digests}
    needed = {digest for box in after.values() for digest in box.digests}
    needed |= {digest for _, box in kept for digest in box.digests}
    leaving = {_image(box) for box in removed if not box.is_locked and not box.rules}
    dropped = {_image(old): old.digests.keys() - new.digests.keys() for old, new in kept}
    gone: dict[str, int] = {}
    staying: set[str] = set()
    for image, files in picture.stored.items():
        for digest, size in files.items():
            if image in leaving or digest in dropped.get(image, ()):
                gone[digest] = size
            else:
                staying.add(digest)
    lts = {box.pick for rel in picture.ubuntu if rel.is_lts for box in rel.boxes.values()}
    ruled = {box.pick for box in boxes if box.rules}
    concerned = [box for box in boxes if box.pick in selected]
    return Pending(
        added=added,
        removed=removed,
        new_bytes=sum(size for d, size in fresh.items() if d not in picture.ready),
        freed_bytes=sum(size for d, size in gone.items() if d not in staying | needed),
        loses_last_lts=bool(lts & picture.selected) and not lts & (selected | ruled),
        kernels=(
            *kernels.changes(picture, concerned, chosen),
            *kernels.left_to_rules(picture, removed),
        ),
    )


def _selected(box: Box, picture: Picture, chosen: Mapping[Line, tuple[str, ...]]) -> Box:
    """A box as it is once it's selected."""
    if box.line not in chosen and (box.is_selected or not box.rules):
        return box
    made = replace(box, is_selected=True)
    return made.with_kernels(chosen.get(box.line, box.chosen), picture.ready)


def _deselected(box: Box, picture: Picture) -> Box:
    """A box as rules alone have it."""
    return replace(box, is_selected=False).with_kernels(box.chosen, picture.ready)


def _image(box: Box) -> ImageName:
    return box.pick.os, box.pick.release, box.pick.arch


def base_of(picture: Picture) -> str:
    """Names what is selected, so that a page that is out of date shows."""
    picks = sorted(value_of(pick) for pick in picture.selected)
    lines = {box.line: box.chosen for box in picture.boxes if box.is_selected}
    return _digest([*picks, *(f"{line}:{','.join(lines[line])}" for line in sorted(lines))])


def _digest(values: Iterable[str]) -> str:
    return hashlib.sha256("|".join(values).encode()).hexdigest()[:16]
