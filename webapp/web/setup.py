# SPDX-License-Identifier: Apache-2.0
"""The first administrator, created through the one-time link that the start printed."""

from __future__ import annotations

from flask import Blueprint, flash, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired

from webapp import hx
from webapp.errors import InvalidFields
from webapp.services.accounts import sessions, users
from webapp.web import forms
from webapp.web.access import public
from webapp.web.accounts import begin

blueprint = Blueprint("setup", __name__)

CODE = "setup_code"


class SetupForm(FlaskForm):
    """The first administrator's name and password."""

    username = StringField("User name", [InputRequired("Choose a user name.")])
    password = PasswordField("Password", [InputRequired("Choose a password.")])
    again = PasswordField("Confirm password", [EqualTo("password", "Passwords don't match.")])


@blueprint.get("/setup")
@public
def index() -> ResponseReturnValue:
    """Take the code out of the address, then ask for name and password.

    The code goes into the visitor's own session, so that the page that is
    shown, its files and the history after it carry an address without it.
    """
    if users.has_users():
        flash("The first administrator already exists. Sign in.", "info")
        return hx.see_other(url_for("accounts.sign_in"))
    if "code" in request.args:
        if not users.is_setup_code(request.args["code"]):
            raise users.setup_problem()
        session[CODE] = request.args["code"]
        response = hx.see_other(url_for("setup.index"))
        response.headers["Referrer-Policy"] = "no-referrer"
        return response
    if not users.is_setup_code(session.get(CODE, "")):
        return hx.render("setup/closed.html", None, status=403)
    return hx.render("setup/index.html", None, form=SetupForm(username="admin"))


@blueprint.post("/setup")
@public
def create() -> ResponseReturnValue:
    """Create the first administrator and sign them in."""
    form = SetupForm()
    try:
        if not form.validate():
            return hx.render("setup/index.html", None, status=422, form=form)
        user = users.create_first_administrator(
            session.get(CODE, ""), form.username.data, form.password.data
        )
    except InvalidFields as problem:
        forms.show(problem, form)
        return hx.render("setup/index.html", None, status=422, form=form)
    begin(
        sessions.open_session(
            user,
            address=request.remote_addr or "",
            user_agent=request.user_agent.string,
        )
    )
    flash(f"Welcome, {user.username}. You're signed in as administrator.", "ok")
    return hx.see_other("/")
