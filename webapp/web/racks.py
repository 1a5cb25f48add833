# SPDX-License-Identifier: Apache-2.0
"""Racks on other machines: the list, one rack with its settings, adding and removing one."""

from __future__ import annotations

import re
from decimal import Decimal

from flask import Blueprint, flash, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice

from webapp import hx
from webapp.errors import InvalidFields, Problem
from webapp.extensions import settings
from webapp.models import RackMode
from webapp.services.accounts.rights import Right
from webapp.services.racks import changing, listing, tokens
from webapp.services.racks.listing import RackStatus
from webapp.services.system import secrets
from webapp.web.access import me, requires
from webapp.web.forms import show

blueprint = Blueprint("racks", __name__, url_prefix="/racks")

ONE = "/<int(max=2147483647):rack_id>/"
SHOWN, SHOWN_S = "rack-line", 300
GB, MB = 10**9, 10**6
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
MODES = {
    RackMode.EVERYTHING: "Every image, before machines ask",
    RackMode.CHOSEN: "Selected images before machines ask, the others on demand",
    RackMode.ON_DEMAND: "Images on demand, when a machine first asks",
}


class AddForm(FlaskForm):
    """A token for racks to add."""

    uses = StringField("Number of racks", default="1")
    hours = StringField("Valid for (hours)", default="24")


class SettingsForm(FlaskForm):
    """What a rack holds and where it gets it."""

    mode = SelectField("Copies", choices=[SelectChoice(k, words) for k, words in MODES.items()])
    max_bytes = StringField("Maximum size (GB)")
    rate = StringField("Maximum rate (MB/s)")
    upstreams = TextAreaField("Mirrors to read from")
    after_rack_id = SelectField("New images after", validate_choice=False)

    def change(self, rack_id: int, actor: str, images: list[str]) -> None:
        """Save what was filled in. Raises InvalidFields."""
        found = {
            "max_bytes": _number(self.max_bytes.data, GB),
            "rate": _number(self.rate.data, MB),
            "after_rack_id": _number(self.after_rack_id.data, 1),
        }
        if wrong := {name: ["Enter a number."] for name, n in found.items() if n is None}:
            raise InvalidFields(wrong)
        changing.change(
            rack_id,
            actor,
            mode=self.mode.data,
            images=images,
            max_bytes=found["max_bytes"],
            rate=found["rate"],
            upstreams=(self.upstreams.data or "").split(),
            after_rack_id=found["after_rack_id"],
        )


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """List the racks, live."""
    return _list(AddForm(formdata=None))


@blueprint.post("/tokens")
@requires(Right.MANAGE)
def add() -> ResponseReturnValue:
    """Create a token; the next page shows the line to type on the rack, once."""
    form = AddForm()
    uses, hours = _number(form.uses.data, 1), _number(form.hours.data, 1)
    try:
        _, token = tokens.create(me().username, uses=uses or 0, hours=hours or 0)
    except InvalidFields as problem:
        show(problem, form)
        return _list(form, status=422)
    except Problem as problem:
        flash(f"{problem.what} {problem.next_step}", "error")
        return hx.see_other(url_for("racks.index"))
    line = tokens.command(token, settings().public_url or request.host_url)
    session[SHOWN] = secrets.seal(line)  # the cookie is signed, but readable: so encrypted
    return hx.see_other(url_for("racks.index"))


@blueprint.post("/tokens/<int(max=2147483647):token_id>/revoke")
@requires(Right.MANAGE)
def revoke(token_id: int) -> ResponseReturnValue:
    """End a token; the racks that it added stay."""
    tokens.revoke(token_id, me().username)
    flash("Token revoked.", "ok")
    return hx.see_other(url_for("racks.index"))


@blueprint.get(ONE)
@requires(Right.SEE)
def show_one(rack_id: int) -> ResponseReturnValue:
    """Show a rack, live, and its settings."""
    rack = listing.read(rack_id)
    values = {
        "mode": rack.mode,
        "max_bytes": _amount(rack.max_bytes, GB),
        "rate": _amount(rack.rate, MB),
        "upstreams": "\n".join(rack.upstreams),
        "after_rack_id": str(rack.after_rack_id or ""),
    }
    return _page(rack, SettingsForm(formdata=None, data=values), list(rack.images))


@blueprint.post(ONE)
@requires(Right.MANAGE)
def change(rack_id: int) -> ResponseReturnValue:
    """Save a rack's settings."""
    form, images = SettingsForm(), request.form.getlist("image")
    try:
        form.change(rack_id, me().username, images)
    except InvalidFields as problem:
        show(problem, form)
        return _page(listing.read(rack_id), form, images, status=422)
    flash("Settings saved.", "ok")
    return hx.see_other(url_for("racks.show_one", rack_id=rack_id))


@blueprint.post(f"{ONE}verify")
@requires(Right.MANAGE)
def verify(rack_id: int) -> ResponseReturnValue:
    """Have the rack check its store now."""
    changing.verify(rack_id, me().username)
    flash("The rack checks every file of its store.", "ok")
    return hx.see_other(url_for("racks.show_one", rack_id=rack_id))


@blueprint.post(f"{ONE}drain")
@requires(Right.MANAGE)
def drain(rack_id: int) -> ResponseReturnValue:
    """Have the rack serve no new machines, or serve them again."""
    changing.change(rack_id, me().username, is_drained=request.form.get("on") == "yes")
    return hx.see_other(url_for("racks.show_one", rack_id=rack_id))


@blueprint.get(f"{ONE}remove")
@requires(Right.MANAGE)
def confirm_remove(rack_id: int) -> ResponseReturnValue:
    """Show what is lost, and ask."""
    return hx.render("racks/remove.html", None, rack=listing.read(rack_id))


@blueprint.post(f"{ONE}remove")
@requires(Right.MANAGE)
def remove(rack_id: int) -> ResponseReturnValue:
    """Forget the rack."""
    name = changing.get(rack_id).name
    changing.remove(rack_id, me().username)
    flash(f"Removed {name}.", "ok")
    return hx.see_other(url_for("racks.index"))


def _list(form: AddForm, status: int = 200) -> ResponseReturnValue:
    return hx.render(
        "racks/index.html",
        "racks/_racks.html",
        status=status,
        racks=listing.all_racks(),
        tokens=() if hx.is_part() else tokens.usable(),
        line="" if hx.is_part() else _take_line(),
        form=form,
    )


def _page(
    rack: RackStatus, form: SettingsForm, images: list[str], status: int = 200
) -> ResponseReturnValue:
    others = [one for one in listing.all_racks() if one.id != rack.id]
    form.after_rack_id.choices = [
        SelectChoice("", "No other rack"),
        *(SelectChoice(str(one.id), one.name) for one in others),
    ]
    return hx.render(
        "racks/show.html",
        "racks/_rack.html",
        status=status,
        rack=rack,
        form=form,
        names=sorted({*listing.image_names(), *images}),
        chosen=images,
    )


def _take_line() -> str:
    try:
        return secrets.unseal(session.pop(SHOWN, ""), max_age_s=SHOWN_S)
    except secrets.SecretProblem:
        return ""


def _number(text: str | None, unit: int) -> int | None:
    """An amount in whole bytes, 0 for nothing; None for other text."""
    text = (text or "").strip()
    if not text:
        return 0
    found = Decimal(text) * unit if _AMOUNT.fullmatch(text) else None
    return int(found) if found is not None and found == int(found) else None


def _amount(number: int | None, unit: int) -> str:
    """A number of bytes in a unit, as ``_number`` reads it to the byte; "" for no limit."""
    return f"{(Decimal(number) / unit).normalize():f}" if number else ""
