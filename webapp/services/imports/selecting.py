# SPDX-License-Identifier: Apache-2.0
"""Save a selection: from the boxes of a page, from an API's list of images, or to deselect one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from webapp.errors import InvalidFields
from webapp.services.imports import runs
from webapp.services.sources import (
    catalogue,
    changes,
    commissioning,
    kernels,
    selections,
    sources,
)
from webapp.services.sources.changes import Pending
from webapp.services.sources.commissioning import Loss
from webapp.services.sources.picture import Picture
from webapp.services.sources.selections import Line, Pick

Choice = tuple[str, str, str]  # os, release, architecture or "*"
Release = tuple[str, str]  # os, release


@dataclass(frozen=True)
class Proposal:
    """A selection that isn't saved yet: the images that would be selected, and what changes.

    chosen: the kernels of the selections that get others. warnings: what machines would miss.
    """

    picture: Picture
    selected: set[Pick]
    pending: Pending
    chosen: Mapping[Line, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    loss: Loss | None = None  # of the commissioning release

    def objection(self, *, base: str, seen: str, commission: str = "") -> str:
        """Why to ask again before saving: one of these, or "" to go ahead.

        "outdated", "commissioning", "deletes", "warns". base: names the selection that the
        person saw. seen: names the change that they confirmed; needed when it deletes what
        machines boot, or leaves them without a kernel. commission: see ``save``.
        """
        if base != changes.base_of(self.picture):
            return "outdated"
        if self.loss and commission not in self.loss.replacements:
            return "commissioning"
        if seen == self.pending.digest:
            return ""
        return "deletes" if self.pending.deletes else "warns" if self.warnings else ""


def of_boxes(picks: Iterable[Pick]) -> Proposal:
    """Exactly these images. What is no longer offered is ignored."""
    picture = catalogue.read()
    return _proposal(picture, changes.resolved(picture, picks))


def of_choices(
    add: Iterable[Choice],
    remove: Iterable[Choice],
    chosen: Mapping[Release, Iterable[str]] | None = None,
) -> Proposal:
    """The current selection with some images more and some less.

    chosen: the kernels of releases, ``*`` for all; they are those of all its architectures.
    Raises InvalidFields naming ``add`` or ``remove`` for an image that no source offers, Problem
    while one is still being read, and InvalidFields naming ``kernels`` for a choice that isn't
    offered or leaves an image without any.
    """
    picture = catalogue.read()
    more = {pick for choice in add for pick in _picks(picture, choice, "add")}
    less = {pick for choice in remove for pick in _picks(picture, choice, "remove")}
    return _proposal(picture, (picture.selected | more) - less, chosen)


def save(
    proposal: Proposal, actor: str, *, is_imported: bool, commission: str = ""
) -> runs.Start | None:
    """Save a proposal if it changes anything. is_imported: also start the import.

    commission: the release that takes the place of the commissioning release which the
    proposal deselects. Raises InvalidFields for another one, Problem for none.
    """
    commissioning.replace(proposal.loss, commission, actor)
    if proposal.pending:
        boxes = changes.spoken_for(proposal.picture, proposal.selected)
        selections.replace_picks(boxes, proposal.selected, actor, proposal.chosen)
    return runs.start("manual", actor) if is_imported else None


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


def _proposal(
    picture: Picture,
    selected: set[Pick],
    chosen: Mapping[Release, Iterable[str]] | None = None,
) -> Proposal:
    wanted = {release: kernels.cleaned(names) for release, names in (chosen or {}).items()}
    lines: dict[Line, tuple[str, ...]] = {}
    warnings: list[str] = []
    for release, names in wanted.items():
        offered = [box for box in picture.boxes if box.line[1:] == release]
        boxes = [box for box in offered if box.pick in selected]
        changed = [box for box in boxes if set(box.chosen) != set(names)]
        if changed:
            kernels.check(offered, boxes, names)
            warnings += kernels.warnings(boxes, names)
        lines |= {box.line: names for box in changed}
    pending = changes.pending(picture, selected, lines)
    loss = commissioning.loss(picture, selected)
    return Proposal(picture, selected, pending, lines, tuple(warnings), loss)


def _picks(picture: Picture, choice: Choice, field: str) -> set[Pick]:
    os, release, arch = choice
    found = {
        box.pick
        for box in picture.boxes
        if (box.pick.os, box.pick.release) == (os, release) and arch in ("*", box.pick.arch)
    }
    if not found:
        name = f"{os}/{release} {arch}"[:200]
        for source in sources.all_sources():
            selections.demand_read(source, f"a selection of {name}")
        raise InvalidFields({field: [f"No source offers {name}. See the catalogue."]})
    return found
