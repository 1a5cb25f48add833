# SPDX-License-Identifier: Apache-2.0
"""Every component on one page, for people to look at and for tests to measure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import PasswordField, SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice

from webapp import hx
from webapp.errors import Problem
from webapp.web.access import public

blueprint = Blueprint("gallery", __name__, template_folder="templates")


class GalleryForm(FlaskForm):
    """One field of each kind."""

    url = StringField("Address")
    release = SelectField("Release", choices=[SelectChoice("noble", "24.04 LTS Noble Numbat")])
    keyring = TextAreaField("Keyring")
    password = PasswordField("Password")


@blueprint.get("/gallery")
@public
def gallery() -> ResponseReturnValue:
    """Show all of it."""
    form = GalleryForm(url="htp://images.example.test/ephemeral-v3/stable/")
    return _answer(form, status=200)


@blueprint.post("/gallery")
@public
def send() -> ResponseReturnValue:
    """Refuse every address, or take one that begins with http and say so."""
    form = GalleryForm()
    if (form.url.data or "").startswith("http"):
        return hx.part("_gallery_form.html", notify="The address is saved.", form=form)
    return _answer(form, status=422)


def _answer(form: GalleryForm, status: int) -> ResponseReturnValue:
    form.url.errors = ["Use an address that begins with http:// or https://."]
    now = datetime.now(UTC)
    problem = Problem(
        "The index is signed by a key that is not in this source's keyring.",
        where="https://images.example.test/ephemeral-v3/stable/streams/v1/index.sjson",
        expected="4A3C E3CD 565D 7EB5 C810 E2B9 7FF3 F408 476C F100",
        got="9F12 00AA 8123 4F01 55B2 0C3D 1111 2222 3333 4444",
        next_step="Compare the fingerprints and paste the right key, or ask who runs the mirror.",
    )
    return hx.render(
        "gallery.html",
        "_gallery_form.html",
        status=status,
        form=form,
        problem=problem,
        now=now,
        earlier=now - timedelta(minutes=3),
        long_ago=now - timedelta(days=90),
    )


def register(app: Flask) -> None:
    """Add the page to an app."""
    app.register_blueprint(blueprint)
