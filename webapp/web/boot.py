# SPDX-License-Identifier: Apache-2.0
"""What machines boot: the table, what a machine would get and why, and lines for DHCP."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import Length

from webapp import hx
from webapp.errors import InvalidFields
from webapp.extensions import settings
from webapp.services.accounts.rights import Right
from webapp.services.boot import dhcp, loaders, table
from webapp.services.boot.choosing import GENERIC, StoredImage
from webapp.services.boot.explaining import Explanation, explain
from webapp.web import forms
from webapp.web.access import me, requires
from webapp.web.addresses import rack_url

blueprint = Blueprint("boot", __name__, url_prefix="/boot")


class EntryForm(FlaskForm):
    """An image for a machine, or for all without an entry. image: ``os/release/arch/kernel``."""

    machine = StringField("MAC address", validators=[Length(max=40)])
    image = SelectField("Image", validate_choice=False)
    parameters = StringField("Kernel parameters", validators=[Length(max=1000)])


class ExplainForm(FlaskForm):
    """Whose boot to explain."""

    class Meta:
        csrf = False

    mac = StringField("MAC address", validators=[Length(max=40)])
    arch = SelectField("Architecture", choices=list(table.ARCHES), validate_choice=False)


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show the table, and explain a machine if one is asked for."""
    return _page(EntryForm(formdata=None))


@blueprint.post("/")
@requires(Right.MANAGE)
def save() -> ResponseReturnValue:
    """Add or replace an entry."""
    form = EntryForm()
    parts = (form.image.data or "").split("/")
    try:
        if not form.validate_on_submit():
            return _page(form, status=422)
        if len(parts) != 4:
            raise InvalidFields({"image": ["Choose an image from the list."]})
        os, release, arch, kernel = parts
        row = table.set_entry(
            me().username,
            form.machine.data or table.DEFAULT,
            f"{os}/{release}",
            arch=arch,
            kernel=kernel,
            parameters=form.parameters.data or "",
        )
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(form, status=422)
    flash(f"Saved the image for {_whose(row.machine)}.", "ok")
    return hx.see_other(url_for("boot.index"))


@blueprint.post("/<machine>/remove")
@requires(Right.MANAGE)
def remove(machine: str) -> ResponseReturnValue:
    """Remove an entry."""
    table.unset(me().username, machine)
    flash(f"Removed the entry of {machine}.", "ok")
    return hx.see_other(url_for("boot.index"))


def _page(form: EntryForm, *, status: int = 200) -> ResponseReturnValue:
    asked = ExplainForm(request.args)
    has_tftp = settings().tftp_bind.endswith(":69")
    explained = _explained(asked)
    form.image.choices = _choices(table.bootable())
    return hx.render(
        "boot/index.html",
        None,
        status=status,
        entries=table.entries(),
        outcomes=table.outcomes(),
        form=form,
        asked=asked,
        explained=explained,
        loaders=loaders.listing(),
        dhcp=dhcp.lines(rack_url(), has_tftp=has_tftp),
        has_tftp=has_tftp,
        tftp_bind=settings().tftp_bind,
    )


def _explained(asked: ExplainForm) -> Explanation | None:
    if not asked.mac.data:
        return None
    try:
        return explain(table.explain(asked.mac.data, asked.arch.data or ""), rack_url())
    except InvalidFields as problem:
        forms.show(problem, asked)
        return None


def _choices(images: list[StoredImage]) -> list[SelectChoice]:
    """Each image with the kernel for any machine first, then with each of its own."""
    found: dict[str, str] = {}
    for one in images:
        name, arch = f"{one.os}/{one.release}", one.arch
        if GENERIC in one.answers_to:
            found[f"{name}/{arch}/{GENERIC}"] = f"{name} {arch}"
    for one in images:
        name, arch = f"{one.os}/{one.release}", one.arch
        if one.subarch != GENERIC:
            found[f"{name}/{arch}/{one.subarch}"] = f"{name} {arch}, kernel {one.subarch}"
    return [SelectChoice(value, text) for value, text in found.items()]


def _whose(machine: str) -> str:
    return machine if ":" in machine else f"other machines on {machine}"
