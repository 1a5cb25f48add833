# SPDX-License-Identifier: Apache-2.0
"""Images: what can be selected, what is stored, what saving would change."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx, jobs
from webapp.errors import NotFound
from webapp.extensions import settings, store
from webapp.models import Role
from webapp.services import catalogue, images, previewing, retention, runs, selections, sources
from webapp.services.catalogue import Pending, Picture
from webapp.services.images import Image
from webapp.services.selections import Pick
from webapp.web.access import me, requires
from webapp.web.sources import health_of, is_managed

blueprint = Blueprint("images", __name__)


@blueprint.get("/images/")
@requires(Role.VIEWER)
def index() -> ResponseReturnValue:
    """Show what is offered and what is stored."""
    picture = _picture()
    return _page(picture, {box.pick for box in picture.boxes if box.is_ticked})


@blueprint.get("/images/stored")
@requires(Role.VIEWER)
def stored() -> ResponseReturnValue:
    """The list of stored images alone; polled while an import runs."""
    if not hx.is_part():
        return redirect(url_for("images.index"), 302)
    return hx.render("images/index.html", "images/_stored.html", **_stored(_picture()))


@blueprint.post("/images/pending")
@requires(Role.OPERATOR)
def review() -> ResponseReturnValue:
    """Say what saving these boxes would change; saves nothing."""
    picture, ticked = _picture(), _ticked()
    if not hx.is_part():
        return _page(picture, ticked, is_review=True)
    pending = catalogue.pending(picture, ticked)
    return hx.render(
        "images/index.html", "images/_pending.html", **_pending(pending, is_review=True)
    )


@blueprint.post("/images/selection")
@requires(Role.OPERATOR)
def save() -> ResponseReturnValue:
    """Save the boxes and start an import; asks first when a stored image would go."""
    picture, ticked = _picture(), _ticked()
    pending = catalogue.pending(picture, ticked)
    loses = any(box.is_stored for box in pending.removed)
    if loses and request.form.get("seen") != _digest(pending):
        return _page(picture, ticked, is_review=True, status=409)
    if not is_managed():
        return _page(picture, ticked, status=409)
    shown = {box.pick for box in picture.boxes}
    if selections.replace_picks(shown, ticked, me().username):
        runs.queue("manual", me().username)
        jobs.wake(settings())
        flash("Selection updated. The import has started.", "ok")
    else:
        flash("Nothing to change: the selection is as it was.", "info")
    return hx.see_other(url_for("images.index"))


@blueprint.get("/images/<os>/<release>/<arch>")
@requires(Role.VIEWER)
def show(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Show one image: kernels, versions, files with digests, addresses for machines."""
    image = _image(os, release, arch)
    resources = [images.resource_with_sets(i) for i in image.resource_ids]
    return hx.render(
        "images/show.html",
        None,
        image=image,
        resources=resources,
        rack_url=_rack_url(),
    )


@blueprint.get("/images/<os>/<release>/<arch>/delete")
@requires(Role.ADMINISTRATOR)
def confirm_delete(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Say what deleting frees and whether the image comes back, and ask."""
    image = _image(os, release, arch)
    preview = previewing.delete_preview(image.resource_ids)
    return hx.render("images/delete.html", None, image=image, preview=preview)


@blueprint.post("/images/<os>/<release>/<arch>/delete")
@requires(Role.ADMINISTRATOR)
def delete(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Delete this architecture of the image and, unless it shall come back, its selection."""
    image = _image(os, release, arch)
    if request.form.get("deselect"):
        picture = _picture()
        mine = {b.pick for b in picture.boxes if b.is_ticked and _names(b.pick, image)}
        ticked = {b.pick for b in picture.boxes if b.is_ticked} - mine
        selections.replace_picks(mine, ticked, me().username)
    retention.delete_resources(image.resource_ids, me().username)
    flash(f"Deleted {image.title} {image.arch}.", "ok")
    return hx.see_other(url_for("images.index"))


# -- pieces


def _picture() -> Picture:
    return catalogue.read(datetime.now(UTC).date())


def _ticked() -> set[Pick]:
    picks = (catalogue.parse_value(value) for value in request.form.getlist("image"))
    return {pick for pick in picks if pick is not None}


def _page(
    picture: Picture, ticked: set[Pick], *, is_review: bool = False, status: int = 200
) -> ResponseReturnValue:
    rows = sources.all_sources()
    pending = catalogue.pending(picture, ticked)
    return hx.render(
        "images/index.html",
        None,
        status=status,
        picture=picture,
        ticked=ticked,
        sources=rows,
        health=[(source, health_of(source)) for source in rows],
        is_managed=is_managed(),
        is_single=settings().single_source,
        **_pending(pending, is_review),
        **_stored(picture),
    )


def _pending(pending: Pending, is_review: bool) -> dict[str, Any]:
    return {
        "pending": pending,
        "is_review": is_review,
        "seen": _digest(pending),
        "free_bytes": store().free_bytes(),
    }


def _stored(picture: Picture) -> dict[str, Any]:
    listed = images.listed(picture)
    return {
        "images": [image for image in listed if not image.is_bootloader],
        "bootloaders": [image for image in listed if image.is_bootloader],
        "run": runs.current(),
        "stored_bytes": images.stored_bytes(),
    }


def _digest(pending: Pending) -> str:
    """Names one set of changes, so that a confirmation cannot mean another one."""
    text = "|".join(
        [*(f"+{box.value}" for box in pending.added), *(f"-{b.value}" for b in pending.removed)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _image(os: str, release: str, arch: str) -> Image:
    for image in images.listed(_picture()):
        if (image.name, image.arch) == (f"{os}/{release}", arch) and image.resource_ids:
            return image
    raise NotFound(
        "There is no such image here.",
        where=f"{os}/{release} {arch}",
        next_step="It may have been deleted; look at the list of images.",
    )


def _names(pick: Pick, image: Image) -> bool:
    return (f"{pick.os}/{pick.release}", pick.arch) == (image.name, image.arch)


def _rack_url() -> str:
    """The rack's address for the URLs that are shown; a guess from this page's host."""
    if settings().rack_url:
        return settings().rack_url
    host = request.host.rpartition(":")[0] or request.host
    return f"http://{host}:{settings().rack_bind.rpartition(':')[2]}/"
