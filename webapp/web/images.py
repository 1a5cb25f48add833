# SPDX-License-Identifier: Apache-2.0
"""Images: what can be selected, what is stored, what saving would change."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.errors import InvalidFields, NotFound
from webapp.extensions import settings
from webapp.services.accounts import rights
from webapp.services.accounts.rights import Right
from webapp.services.images import history, keys, listing, ordering, restricting, steering
from webapp.services.images.listing import Image
from webapp.services.imports import delete_preview, runs, selecting
from webapp.services.overview import missing
from webapp.services.sources import (
    catalogue,
    changes,
    commissioned,
    commissioning,
    soaking,
    sources,
)
from webapp.services.sources.changes import Pending
from webapp.services.sources.commissioning import Loss
from webapp.services.sources.picture import Picture, parse_value
from webapp.services.sources.selections import Pick
from webapp.services.system import live_settings
from webapp.services.system.live_settings import COMMISSIONING
from webapp.services.uploads import removal
from webapp.web import addresses, import_start, paging, source_health
from webapp.web.access import me, requires
from webapp.web.image_rows import ResourceRow, free_bytes, image_row, resource_row, summary
from webapp.web.source_health import is_managed, require_managed
from webapp.web.version_rows import version_row

blueprint = Blueprint("images", __name__)

PAGE = 100


@blueprint.get("/images/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show what is offered and what is stored."""
    picture = catalogue.read()
    suggested: set[Pick] = set()
    if rights.may(me().role, Right.SELECT):
        suggested = changes.suggested(picture, settings().default_release)
    return _page(picture, picture.selected | suggested, reason="suggested" if suggested else "")


@blueprint.get("/images/stored")
@requires(Right.SEE)
def stored() -> ResponseReturnValue:
    """The list of stored images alone; polled while an import runs."""
    if not hx.is_part():
        return redirect(url_for("images.index"), 302)
    return hx.part("images/_stored.html", **_stored(catalogue.read()))


@blueprint.post("/images/pending")
@requires(Right.SELECT)
def review() -> ResponseReturnValue:
    """Show what saving these boxes would change; saves nothing."""
    proposal = selecting.of_boxes(_picks())
    if not hx.is_part():
        return _page(proposal.picture, proposal.selected, reason="review")
    context = _pending(proposal.pending, proposal.loss, is_seen=True)
    return hx.part("images/_pending.html", **context)


@blueprint.post("/images/offered")
@requires(Right.SEE)
def offered() -> ResponseReturnValue:
    """The boxes alone, ticked as they're sent; asked for when an import began or ended."""
    if not hx.is_part():
        return hx.see_other(url_for("images.index"))
    if rights.may(me().role, Right.SELECT):
        proposal = selecting.of_boxes(_picks())
        picture, selected = proposal.picture, proposal.selected
    else:
        picture = catalogue.read()
        selected = picture.selected
    return hx.part("images/_grid.html", picture=picture, selected=selected)


@blueprint.post("/images/selection")
@requires(Right.SELECT)
def save() -> ResponseReturnValue:
    """Save the boxes and start an import; asks first when a stored image would go."""
    require_managed()
    proposal = selecting.of_boxes(_picks())
    if not proposal.pending:
        flash("No changes to save.", "info")
        return hx.see_other(url_for("images.index"))
    base, seen, release = (request.form.get(name, "") for name in ("base", "seen", "commission"))
    if reason := proposal.objection(base=base, seen=seen, commission=release):
        return _page(proposal.picture, proposal.selected, reason=reason, status=409)
    started = selecting.save(proposal, me().username, is_imported=True, commission=release)
    flash(import_start.after("Selection updated.", started), "ok")
    return hx.see_other(url_for("images.index"))


@blueprint.post("/images/commissioning")
@requires(Right.MANAGE)
def commission() -> ResponseReturnValue:
    """Choose the release that machines are commissioned with."""
    release = request.form.get("release", "")
    if release not in commissioning.choices(catalogue.read()):
        raise InvalidFields({"release": ["Choose one of the releases."]})
    live_settings.change(COMMISSIONING, release, me().username)
    flash(f"Machines are commissioned with {release}.", "ok")
    return hx.see_other(url_for("images.index"))


@blueprint.get("/images/<os>/<release>/<arch>")
@requires(Right.SEE)
def show(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Show one image: kernels, versions, files with digests, addresses for machines."""
    image = _image(os, release, arch)
    found = history.of(image.resource_ids)
    link: dict[str, Any] = {"os": os, "release": release, "arch": arch}
    return hx.render(
        "images/show.html",
        None,
        row=image_row(image),
        resources=_resources(image),
        history=found,
        versions=[version_row(line, link, len(image.resource_ids)) for line in found.lines],
        change_url=url_for("versions.change", **link),
        keep_url=url_for("versions.keep", **link),
        soak_days=soaking.of_image(image.name, arch),
        restriction=restricting.of(os, release, arch),
        restriction_url=url_for("restrictions.edit", **link),
        limits={"kept": steering.MAX_KEPT, "days": steering.MAX_DAYS},
        is_managed=is_managed(),
    )


@blueprint.get("/images/<os>/<release>/<arch>/delete")
@requires(Right.MANAGE)
def confirm_delete(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Show what deleting frees and whether the image would return, and ask."""
    image = _image(os, release, arch)
    preview = delete_preview.delete_preview(image.resource_ids)
    return hx.render(
        "images/delete.html",
        None,
        row=image_row(image),
        preview=preview,
        bin_hours=settings().bin_hours,
    )


@blueprint.post("/images/<os>/<release>/<arch>/delete")
@requires(Right.MANAGE)
def delete(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Delete this architecture of the image and, if asked, its selection."""
    require_managed()
    image = _image(os, release, arch)
    if request.form.get("deselect"):
        selecting.deselect(image.name, image.arch, me().username)
    removal.remove(image.resource_ids, me().username)
    flash(f"Deleted {image.title} {image.arch}.", "ok")
    return hx.see_other(url_for("images.index"))


# -- pieces


def _picks() -> list[Pick]:
    picks = (parse_value(value) for value in request.form.getlist("image"))
    return [pick for pick in picks if pick is not None]


def _page(
    picture: Picture, selected: set[Pick], *, reason: str = "", status: int = 200
) -> ResponseReturnValue:
    """The whole page with these boxes selected; reason: why they are not as they are saved."""
    judged = source_health.rows()
    return hx.render(
        "images/index.html",
        None,
        status=status,
        picture=picture,
        selected=selected,
        base=changes.base_of(picture),
        reason=reason,
        source_count=len(judged),
        unreadable=[row for row in judged if row.health.problem is not None],
        is_checking=any(row.health.is_checking for row in judged),
        trouble=commissioning.trouble(),
        releases=commissioning.choices(picture),
        commissioned=commissioned.release(),
        **_pending(
            changes.pending(picture, selected),
            commissioning.loss(picture, selected),
            is_seen=reason not in ("", "suggested"),
        ),
        **_stored(picture),
    )


def _pending(pending: Pending, loss: Loss | None, *, is_seen: bool) -> dict[str, Any]:
    free = free_bytes()
    line = summary(pending, free)
    return {
        "pending": pending,
        "summary": line,
        "is_seen": is_seen,
        "free_bytes": free,
        "loss": loss,
    }


def _stored(picture: Picture) -> dict[str, Any]:
    order = ordering.read(picture)
    images = [image for image, is_loader in order.items() if not is_loader]
    part = paging.after(images, request.args.get("after", ""), PAGE)
    loaders = {image for image, is_loader in order.items() if is_loader}
    listed = listing.listed(picture, {*part.shown, *loaders})
    return {
        "rows": [image_row(image) for image in listed if not image.is_bootloader],
        "bootloaders": [image_row(image) for image in listed if image.is_bootloader],
        "part": part,
        "missing": missing.problem(),
        "run": runs.current(),
        "stored_bytes": listing.stored_bytes(),
        "has_sources": bool(picture.releases) or bool(sources.all_sources()),
        "is_managed": is_managed(),
    }


def _resources(image: Image) -> list[ResourceRow]:
    rack = addresses.rack_url()
    rows = (resource_row(resource, rack) for resource in listing.resources_of(image))
    return [row for row in rows if row is not None]


def _image(os: str, release: str, arch: str) -> Image:
    names = (f"{os}/{release}", release) if os == keys.CUSTOM else (f"{os}/{release}",)
    only = {keys.Image(name, arch) for name in names}
    for image in listing.listed(catalogue.read(), only):
        if image.resource_ids:
            return image
    raise NotFound(
        "Image not found.",
        where=f"{os}/{release} {arch}",
        next_step="It may have been deleted. See the list of images.",
    )
