# SPDX-License-Identifier: Apache-2.0
"""The local mirror: its address and key, what it offers, and who reads it."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.errors import Problem
from webapp.services.accounts.rights import Right
from webapp.services.mirror import keys, options, status
from webapp.web.access import me, requires
from webapp.web.addresses import rack_url

blueprint = Blueprint("mirror", __name__, url_prefix="/local-mirror")


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show the mirror, and what to type at another site."""
    return hx.render(
        "mirror/index.html",
        None,
        mirror=status.read(),
        url=rack_url() + status.PATH,
        web_url=request.host_url + status.PATH,
        names=status.image_names(),
    )


@blueprint.post("/switch")
@requires(Right.MANAGE)
def switch() -> ResponseReturnValue:
    """Turn it on or off."""
    options.change(me().username, is_on=request.form.get("on") == "yes")
    return hx.see_other(url_for("mirror.index"))


@blueprint.post("/offer")
@requires(Right.MANAGE)
def offer() -> ResponseReturnValue:
    """Choose what it offers."""
    is_all = request.form.get("which") != "chosen"
    chosen = tuple(request.form.getlist("image"))
    if not is_all and not chosen:
        flash("Select at least one image, or offer all of them.", "error")
        return hx.see_other(url_for("mirror.index"))
    options.change(
        me().username,
        images=() if is_all else chosen,
        has_uploads=request.form.get("uploads") == "yes",
    )
    flash("Offer saved.", "ok")
    return hx.see_other(url_for("mirror.index"))


@blueprint.post("/rotate")
@requires(Right.MANAGE)
def rotate() -> ResponseReturnValue:
    """Create the next signing key."""
    try:
        keys.request_rotation(me().username)
    except Problem as problem:
        flash(f"{problem.what} {problem.next_step}", "error")
    else:
        flash("The worker creates the next key and publishes it.", "info")
    return hx.see_other(url_for("mirror.index"))
