# SPDX-License-Identifier: Apache-2.0
"""The bin: images that were removed, restored or given up."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.extensions import settings
from webapp.numbers import counted
from webapp.services.accounts.rights import Right, may
from webapp.services.images import binning
from webapp.services.imports import restoring
from webapp.web.access import me, requires
from webapp.web.formatting import byte_size
from webapp.web.source_health import is_managed, require_managed

blueprint = Blueprint("bin", __name__, url_prefix="/images/bin")

ONE = "/<os>/<release>/<arch>"


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show what is in the bin; ``?empty`` asks before giving up one image or all."""
    return hx.render(
        "images/bin.html",
        None,
        found=binning.read(),
        hours=settings().bin_hours,
        is_named=may(me().role, Right.IMPORT),
        is_managed=is_managed(),
    )


@blueprint.post(f"{ONE}/restore")
@requires(Right.SELECT)
def restore(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Restore an image, and its selection if that was what removed it."""
    require_managed()
    done = restoring.restore(binning.find(os, release, arch), me().username)
    selected = " It's selected again." if done.is_selected else ""
    flash(f"Restored {done.name} {done.arch}. Nothing was downloaded.{selected}", "ok")
    if done.warning:
        flash(done.warning, "warn")
    return hx.see_other(url_for("images.index"))


@blueprint.get("/empty")
@requires(Right.MANAGE)
def confirm_empty() -> ResponseReturnValue:
    """Ask before giving up one image or all of them."""
    found = binning.read()
    key = request.args.get("image", "")
    images = [one for one in found.images if key in ("", f"{one.name} {one.arch}")]
    if not images:
        flash("This image is no longer in the bin." if key else "The bin is empty.", "info")
        return hx.see_other(url_for("bin.index"))
    one = images[0] if key else None
    return hx.render("images/bin_empty.html", None, images=images, found=found, one=one)


@blueprint.post("/empty")
@requires(Right.MANAGE)
def empty() -> ResponseReturnValue:
    """Give up everything in the bin."""
    require_managed()
    return _emptied(binning.empty(None, me().username))


@blueprint.post(f"{ONE}/discard")
@requires(Right.MANAGE)
def discard(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Give up one image in the bin."""
    require_managed()
    return _emptied(binning.empty(binning.find(os, release, arch), me().username))


def _emptied(done: binning.Emptied) -> ResponseReturnValue:
    freed = f"{byte_size(done.bytes)} will be freed shortly."
    flash(f"Deleted {counted(done.images, 'image')} for good. {freed}", "ok")
    return hx.see_other(url_for("bin.index"))
