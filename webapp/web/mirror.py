# SPDX-License-Identifier: Apache-2.0
"""The local mirror: its address and key, what it offers, and who reads it."""

from __future__ import annotations

from flask import Blueprint, Response, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import Length

from webapp import hx
from webapp.errors import InvalidFields, NotFound, Problem
from webapp.services.accounts.rights import Right
from webapp.services.mirror import keys, options, signatures
from webapp.services.mirror import status as mirror_status
from webapp.web.access import me, requires
from webapp.web.addresses import rack_url
from webapp.web.forms import show

blueprint = Blueprint("mirror", __name__, url_prefix="/local-mirror")


class AddressForm(FlaskForm):
    """Where the mirror is served."""

    prefix = StringField("Path of the mirror's address", validators=[Length(max=300)])


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show the mirror, and what to type at another site."""
    return _page()


def _page(form: AddressForm | None = None, *, status: int = 200) -> ResponseReturnValue:
    mirror = mirror_status.read()
    return hx.render(
        "mirror/index.html",
        None,
        status=status,
        mirror=mirror,
        url=rack_url() + mirror.prefix,
        web_url=request.host_url + mirror.prefix,
        folder=rack_url() + mirror_status.example_folder(),
        names=mirror_status.image_names(),
        form=form or AddressForm(formdata=None, data={"prefix": mirror.prefix}),
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


@blueprint.post("/address")
@requires(Right.MANAGE)
def address() -> ResponseReturnValue:
    """Serve it below another path."""
    form = AddressForm()
    try:
        if form.validate_on_submit():
            options.change(me().username, prefix=form.prefix.data)
            flash("Path saved.", "ok")
            return hx.see_other(url_for("mirror.index"))
    except InvalidFields as problem:
        show(problem, form)
    return _page(form, status=422)


@blueprint.get("/slipway-ca.crt")
@requires(Right.SEE)
def certificate() -> ResponseReturnValue:
    """Download the certificate for iPXE."""
    text = signatures.certificate().root
    if not text:
        raise NotFound("There is no certificate yet.", next_step="Start the worker.")
    return Response(text, mimetype="application/x-pem-file")


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
