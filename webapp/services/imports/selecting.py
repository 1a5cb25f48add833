# SPDX-License-Identifier: Apache-2.0
"""Save a selection: from the boxes of a page, from an API's list of images, or to deselect one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from webapp.errors import InvalidFields
from webapp.services.imports import runs
from webapp.services.sources import catalogue, changes, selections
from webapp.services.sources.catalogue import Picture
from webapp.services.sources.changes import Pending
from webapp.services.sources.selections import Pick

Choice = tuple[str, str, str]  # os, release, architecture or "*"


@dataclass(frozen=True)
class Proposal:
    """A selection that isn't saved yet: the images that would be selected, and what changes."""

    picture: Picture
    selected: set[Pick]
    pending: Pending

    def objection(self, *, base: str, seen: str) -> str:
        """Why to ask again before saving: "outdated", "deletes", or "" to go ahead.

        base: names the selection that the person saw. seen: names the change that they
        confirmed; needed when it deletes images that machines boot.
        """
        if base != changes.base_of(self.picture):
            return "outdated"
        return "deletes" if self.pending.stored and seen != self.pending.digest else ""


def of_boxes(picks: Iterable[Pick]) -> Proposal:
    """Exactly these images. What is no longer offered is ignored."""
    picture = catalogue.read()
    return _proposal(picture, changes.resolved(picture, picks))


def of_choices(add: Iterable[Choice], remove: Iterable[Choice]) -> Proposal:
    """The current selection with some images more and some less.

    Raises InvalidFields naming ``add`` or ``remove`` for an image that no source offers.
    """
    picture = catalogue.read()
    more = {pick for choice in add for pick in _picks(picture, choice, "add")}
    less = {pick for choice in remove for pick in _picks(picture, choice, "remove")}
    return _proposal(picture, (picture.selected | more) - less)


def save(proposal: Proposal, actor: str, *, is_imported: bool) -> None:
    """Save a proposal if it changes anything. is_imported: also start the import."""
    if proposal.pending:
        boxes = changes.spoken_for(proposal.picture, proposal.selected)
        selections.replace_picks(boxes, proposal.selected, actor)
    if is_imported:
        runs.queue("manual", actor)


def deselect(name: str, arch: str, actor: str) -> None:
    """Deselect an image (``os/release``, architecture) at every source that offers it."""
    boxes = [
        box
        for box in catalogue.read().boxes
        if (f"{box.pick.os}/{box.pick.release}", box.pick.arch) == (name, arch)
    ]
    selections.replace_picks(
        {pick for box in boxes for pick in (box.pick, *box.other_picks)}, set(), actor
    )


def _proposal(picture: Picture, selected: set[Pick]) -> Proposal:
    return Proposal(picture, selected, changes.pending(picture, selected))


def _picks(picture: Picture, choice: Choice, field: str) -> set[Pick]:
    os, release, arch = choice
    found = {
        box.pick
        for box in picture.boxes
        if (box.pick.os, box.pick.release) == (os, release) and arch in ("*", box.pick.arch)
    }
    if not found:
        name = f"{os}/{release} {arch}"[:200]
        raise InvalidFields({field: [f"No source offers {name}. See the catalogue."]})
    return found
