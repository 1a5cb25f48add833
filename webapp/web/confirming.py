# SPDX-License-Identifier: Apache-2.0
"""Ask for the password (and code) again before access is given or changed.

A confirmation counts for a few minutes, and so does signing in. The form that was sent
waits in the page, sealed, and is carried out once it's confirmed.
"""

from __future__ import annotations

import json

from flask import Flask, current_app, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from werkzeug.datastructures import ImmutableMultiDict
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired

from webapp import hx
from webapp.errors import InvalidFields
from webapp.middleware import SAFE_METHODS
from webapp.services.accounts import two_factor, users
from webapp.services.accounts.sessions import CONFIRMED, SignedIn
from webapp.services.system import secrets
from webapp.web import forms
from webapp.web.access import access_of, is_script_path, me

KEPT = "confirmed_form"  # the field that carries the form that was sent
_BACK = {"users": "users.index", "tokens": "tokens.index"}


class ConfirmForm(FlaskForm):
    """The password again, and a code where the account has a second factor."""

    password = PasswordField("Password", [InputRequired("Enter your password.")])
    code = StringField("Code")


def register(app: Flask) -> None:
    """Ask after the visitor's rights and the form's token were checked."""
    app.before_request(_ask)


def _ask() -> ResponseReturnValue | None:
    if request.method in SAFE_METHODS or request.endpoint is None or is_script_path(request.path):
        return None
    access = access_of(current_app, request.endpoint)
    if access is None or not access.is_confirmed:
        return None
    visitor, sealed = me(), request.form.get(KEPT)
    if sealed is None:
        return None if visitor.is_confirmed else _page(visitor, _sealed(visitor), ConfirmForm(None))
    kept = _unsealed(visitor, sealed)
    if kept is None:
        flash("Confirmation timed out. Nothing was changed. Try again.", "warn")
        return hx.see_other(_back())
    form = ConfirmForm()
    try:
        if not form.validate():
            return _page(visitor, sealed, form, status=422)
        address = request.remote_addr or ""
        two_factor.confirm(visitor, form.password.data, form.code.data or "", address)
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(visitor, sealed, form, status=422)
    request.form = ImmutableMultiDict(kept)  # what was sent before the question
    return None


def _page(
    visitor: SignedIn, sealed: str, form: ConfirmForm, status: int = 200
) -> ResponseReturnValue:
    response = hx.render(
        "accounts/confirm.html",
        None,
        status=status,
        form=form,
        kept=sealed,
        username=visitor.username,
        has_two_factor=two_factor.is_on(users.get(visitor.user_id)),
        minutes=int(CONFIRMED.total_seconds() // 60),
        back=_back(),
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _back() -> str:
    return url_for(_BACK.get(request.blueprint or "", "accounts.account"))


def _sealed(visitor: SignedIn) -> str:
    sent = [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]
    return secrets.seal(json.dumps([visitor.session_id, request.path, sent]))


def _unsealed(visitor: SignedIn, sealed: str) -> list[tuple[str, str]] | None:
    """The form that was sent; None unless it's from this session and page, and recent."""
    try:
        text = secrets.unseal(sealed, max_age_s=int(CONFIRMED.total_seconds()))
    except secrets.SecretProblem:
        return None
    session_id, path, sent = json.loads(text) if text else (0, "", [])
    if (session_id, path) != (visitor.session_id, request.path):
        return None
    return [(name, value) for name, value in sent]
