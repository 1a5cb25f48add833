# SPDX-License-Identifier: Apache-2.0
"""The kernels of a release: which there are, the bytes that each adds, and choosing some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.errors import InvalidFields, NotFound
from webapp.services.accounts.rights import Right
from webapp.services.imports import selecting
from webapp.services.imports.selecting import Proposal
from webapp.services.sources import catalogue, changes, kernels
from webapp.services.sources.kernels import KernelOffer
from webapp.services.sources.picture import Box, Picture, Release
from webapp.streams import kernels as kernel_names
from webapp.streams.filters import ANY
from webapp.web import import_start
from webapp.web.access import me, requires
from webapp.web.image_rows import free_bytes, summary
from webapp.web.source_health import require_managed

blueprint = Blueprint("kernels", __name__, url_prefix="/images/<os>/<release>/kernels")


@dataclass(frozen=True)
class KernelRow:
    """A kernel with what it adds to each architecture. is_offered: some source still has it.

    is_ruled: a rule selects it, whatever is chosen here.
    """

    name: str
    title: str
    is_generic: bool
    is_chosen: bool
    is_ruled: bool
    offers: dict[str, KernelOffer]

    @property
    def is_offered(self) -> bool:
        """Whether any architecture has it now."""
        return bool(self.offers)


@blueprint.get("/")
@requires(Right.SEE)
def edit(os: str, release: str) -> ResponseReturnValue:
    """Show the kernels of a release and the bytes of each."""
    picture = catalogue.read()
    return _page(picture, _release(picture, os, release))


@blueprint.post("/")
@requires(Right.SELECT)
def save(os: str, release: str) -> ResponseReturnValue:
    """Save architectures and kernels; asks first where machines would lose something."""
    require_managed()
    picture = catalogue.read()
    found = _release(picture, os, release)
    try:
        proposal = _proposal(found)
    except InvalidFields as problem:
        errors = [message for messages in problem.fields.values() for message in messages]
        return _page(picture, found, errors=errors, status=422)
    base, seen = request.form.get("base", ""), request.form.get("seen", "")
    commission = request.form.get("commission", "")
    reason = proposal.objection(base=base, seen=seen, commission=commission)
    if request.form.get("review") or reason:
        status = 409 if reason and not request.form.get("review") else 200
        return _page(picture, found, proposal=proposal, reason=reason, status=status)
    if not proposal.pending:
        flash("No changes to save.", "info")
        return hx.see_other(url_for("kernels.edit", os=os, release=release))
    started = selecting.save(proposal, me().username, is_imported=True, commission=commission)
    flash(import_start.after(f"Kernels of {found.title} saved.", started), "ok")
    return hx.see_other(url_for("images.index"))


def _release(picture: Picture, os: str, release: str) -> Release:
    for one in picture.releases:
        if (one.os, one.release) == (os, release):
            return one
    raise NotFound(
        "Release not found.",
        where=f"{os}/{release}",
        next_step="No enabled source offers it. See the images on offer.",
    )


def _proposal(release: Release) -> Proposal:
    """What the form means. Raises InvalidFields."""
    line = (release.os, release.release)
    arches = set(request.form.getlist("arch"))
    add = [(*line, arch) for arch in release.boxes if arch in arches]
    remove = [(*line, arch) for arch in release.boxes if arch not in arches]
    chosen = [ANY] if request.form.get("which") == "all" else request.form.getlist("kernel")
    boxes = list(release.boxes.values())
    is_chosen = set(chosen) != _chosen(boxes)
    if is_chosen and not add and not any(box.is_selected for box in boxes):
        raise InvalidFields({"arch": ["Select an architecture for these kernels."]})
    if not add or not is_chosen:
        return selecting.of_choices(add, remove)
    return selecting.of_choices(add, remove, {line: chosen})


def _chosen(boxes: Sequence[Box]) -> set[str]:
    """The names that the form has selected for a selection as it is."""
    if all(box.chosen == (ANY,) for box in boxes):
        return {ANY}
    known = {name for box in boxes for kernel in box.kernels for name in kernel.answers_to}
    gone = {name for box in boxes for name in box.chosen if name not in known} - {ANY}
    kept = {k.name for box in boxes for k in box.kernels if k.is_among(box.chosen)}
    return kept | gone


def _rows(picture: Picture, boxes: Sequence[Box], chosen: set[str]) -> list[KernelRow]:
    offers = {
        (one.kernel.name, box.pick.arch): one
        for box in boxes
        for one in kernels.offers(box, picture.ready)
    }
    names = {name for name, _ in offers} | (chosen - {ANY})
    rows = []
    for name in sorted(names, key=kernel_names.order_key):
        found = {arch: one for (kernel, arch), one in offers.items() if kernel == name}
        rows.append(
            KernelRow(
                name=name,
                title=kernel_names.title(name),
                is_generic=any(one.is_generic for one in found.values()),
                is_chosen=not chosen.isdisjoint({name, ANY}),
                is_ruled=any(one.kernel.is_among(one.box.ruled_kernels) for one in found.values()),
                offers=found,
            )
        )
    return rows


def _page(
    picture: Picture,
    release: Release,
    *,
    proposal: Proposal | None = None,
    errors: Sequence[str] = (),
    reason: str = "",
    status: int = 200,
) -> ResponseReturnValue:
    """The page with the saved choice, or with the one that was sent."""
    boxes = list(release.boxes.values())
    chosen, arches = _chosen(boxes), {box.pick.arch for box in boxes if box.is_selected}
    if proposal or errors:
        is_all = request.form.get("which") == "all"
        chosen = {ANY} if is_all else set(request.form.getlist("kernel"))
        arches = set(request.form.getlist("arch"))
    free = free_bytes()
    return hx.render(
        "images/kernels.html",
        None,
        status=status,
        release=release,
        arches=arches,
        is_all=chosen == {ANY},
        rows=_rows(picture, boxes, chosen),
        shared={box.pick.arch: kernels.shared_bytes(box) for box in boxes},
        base=changes.base_of(picture),
        errors=errors,
        reason=reason,
        proposal=proposal,
        summary=summary(proposal.pending, free) if proposal else "",
    )
