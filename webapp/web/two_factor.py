# SPDX-License-Identifier: Apache-2.0
"""The second factor: asked for at sign-in, and turned on and off on one's own account."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field

import segno
from flask import Blueprint, Response, abort, flash, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired

from webapp import hx
from webapp.errors import InvalidFields
from webapp.models import User
from webapp.services.accounts import sessions, two_factor, users
from webapp.services.accounts.rights import Right
from webapp.services.accounts.sessions import SignInProblem, TooManyAttempts
from webapp.services.system import secrets
from webapp.web import forms
from webapp.web.access import local_path, me, public, requires
from webapp.web.accounts import PENDING, begin

blueprint = Blueprint("two_factor", __name__)

# In the browser's cookie, sealed: a key that does not count yet, and codes to be shown once.
NEW_KEY = "new_totp_key"
NEW_KEY_S = 900
NEW_CODES = "new_recovery_codes"
NEW_CODES_S = 300


class CodeForm(FlaskForm):
    """A code of the app, or a recovery code."""

    code = StringField("Code", [InputRequired("Enter a code.")])


class NewCodesForm(FlaskForm):
    """A code, on a page where another form asks for one too."""

    code = StringField("Code", [InputRequired("Enter a code.")], id="code-for-codes")


class PasswordCodeForm(FlaskForm):
    """Both factors, to change one of them."""

    password = PasswordField("Password", [InputRequired("Enter your password.")])
    code = StringField("Code", [InputRequired("Enter a code.")])


@dataclass(frozen=True)
class TwoFactorPage:
    """What accounts/two_factor.html shows."""

    user: User
    key: str = ""
    key_address: str = ""
    codes: list[str] = field(default_factory=list)


# -- at sign-in


@blueprint.get("/sign-in/code")
@public
def ask() -> ResponseReturnValue:
    """Ask for the second factor."""
    if two_factor.pending_user(session.get(PENDING, "")) is None:
        return _begin_again()
    return _code_page(CodeForm(None))


@blueprint.post("/sign-in/code")
@public
def answer() -> ResponseReturnValue:
    """Check the second factor and open a session."""
    user = two_factor.pending_user(session.get(PENDING, ""))
    if user is None:
        return _begin_again()
    form, address = CodeForm(), request.remote_addr or ""
    if not form.validate():
        return _code_page(form, status=422)
    try:
        two_factor.check(user, form.code.data, address=address)
    except SignInProblem as problem:
        return _code_page(form, problem, status=422)
    except TooManyAttempts as problem:
        response = _code_page(form, problem, status=429)
        response.headers["Retry-After"] = str(two_factor.CODE_BUCKET.refill_s)
        return response
    agent = request.user_agent.string
    begin(sessions.open_session(user, address=address, user_agent=agent))
    return hx.see_other(_next())


def _begin_again() -> ResponseReturnValue:
    session.pop(PENDING, None)
    flash("Sign in again. The code must be entered within five minutes.", "info")
    return hx.see_other(url_for("accounts.sign_in", next=_next_or_none()))


def _code_page(
    form: CodeForm, problem: SignInProblem | TooManyAttempts | None = None, status: int = 200
) -> Response:
    return hx.render(
        "accounts/code.html",
        None,
        status=status,
        form=form,
        problem=problem,
        next=_next_or_none(),
    )


def _next() -> str:
    return local_path(request.args.get("next", "/"))


def _next_or_none() -> str | None:
    return _next() if _next() != "/" else None


# -- on one's own account


@blueprint.get("/account/two-factor")
@requires(Right.OWN_ACCESS)
def show() -> ResponseReturnValue:
    """Show what comes next: a new key, new recovery codes, or what can be changed."""
    return _page()


@blueprint.post("/account/two-factor/begin")
@requires(Right.OWN_ACCESS)
def make_key() -> ResponseReturnValue:
    """Create a key; it counts once a code of it is entered."""
    session[NEW_KEY] = secrets.seal(two_factor.new_key())
    return hx.see_other(url_for("two_factor.show"))


@blueprint.get("/account/two-factor/qr.svg")
@requires(Right.OWN_ACCESS)
def qr() -> ResponseReturnValue:
    """Draw the new key for the app's camera."""
    key = _new_key()
    if not key:
        abort(404)
    drawing = io.BytesIO()
    code = segno.make_qr(two_factor.key_address(key, me().username))
    code.save(drawing, kind="svg", scale=5, dark="#000", light="#fff", xmldecl=False)
    response = Response(drawing.getvalue(), mimetype="image/svg+xml")
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/account/two-factor/on")
@requires(Right.OWN_ACCESS)
def turn_on() -> ResponseReturnValue:
    """Let the new key count, and show the recovery codes on the next page."""
    form, key = PasswordCodeForm(), _new_key()
    if not key:
        flash("Setup timed out. Start again.", "warn")
        return hx.see_other(url_for("accounts.account", _anchor="two-factor"))
    try:
        if not form.validate():
            return _page(on_form=form, status=422)
        codes = two_factor.turn_on(me(), key, form.password.data, form.code.data, _address())
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(on_form=form, status=422)
    session.pop(NEW_KEY, None)
    flash("Two-factor authentication is on. You've been signed out everywhere else.", "ok")
    return _show_codes(codes)


@blueprint.post("/account/two-factor/codes")
@requires(Right.OWN_ACCESS)
def renew_codes() -> ResponseReturnValue:
    """Create recovery codes and show them on the next page."""
    form = NewCodesForm()
    if not form.validate():
        return _page(codes_form=form, status=422)
    try:
        codes = two_factor.renew_codes(me(), form.code.data, _address())
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(codes_form=form, status=422)
    return _show_codes(codes)


@blueprint.post("/account/two-factor/off")
@requires(Right.OWN_ACCESS)
def turn_off() -> ResponseReturnValue:
    """Turn it off, knowing both factors."""
    form = PasswordCodeForm()
    if not form.validate():
        return _page(off_form=form, status=422)
    try:
        two_factor.turn_off(me(), form.password.data, form.code.data, _address())
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(off_form=form, status=422)
    flash("Two-factor authentication is off. You've been signed out everywhere else.", "ok")
    return hx.see_other(url_for("accounts.account", _anchor="two-factor"))


def _page(
    *,
    on_form: PasswordCodeForm | None = None,
    codes_form: NewCodesForm | None = None,
    off_form: PasswordCodeForm | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    user = users.get(me().user_id)
    is_on = two_factor.is_on(user)
    key = "" if is_on else _new_key()
    if not is_on and not key:
        return hx.see_other(url_for("accounts.account", _anchor="two-factor"))
    page = TwoFactorPage(
        user=user,
        key=" ".join(two_factor.in_fours(key)),
        key_address=two_factor.key_address(key, user.username) if key else "",
        codes=_take_codes(),
    )
    return hx.render(
        "accounts/two_factor.html",
        None,
        status=status,
        page=page,
        on_form=on_form or PasswordCodeForm(None),
        codes_form=codes_form or NewCodesForm(None),
        off_form=off_form or PasswordCodeForm(None),
    )


def _show_codes(codes: list[str]) -> ResponseReturnValue:
    session[NEW_CODES] = secrets.seal(json.dumps(codes))
    return hx.see_other(url_for("two_factor.show"))


def _take_codes() -> list[str]:
    text = _unsealed(session.pop(NEW_CODES, ""), NEW_CODES_S)
    return list(json.loads(text)) if text else []


def _new_key() -> str:
    return _unsealed(session.get(NEW_KEY, ""), NEW_KEY_S)


def _unsealed(token: str, max_age_s: int) -> str:
    try:
        return secrets.unseal(token, max_age_s=max_age_s)
    except secrets.SecretProblem:
        return ""


def _address() -> str:
    return request.remote_addr or ""
