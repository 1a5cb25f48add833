# SPDX-License-Identifier: Apache-2.0
"""Sign in and out, and one's own account: password, sessions, API keys."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, flash, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user
from flask_wtf import FlaskForm
from wtforms import BooleanField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired

from webapp import hx
from webapp.errors import InvalidFields, NotFound
from webapp.models import APIKey, LoginSession, User
from webapp.numbers import counted
from webapp.services.accounts import credentials, sessions, two_factor, users
from webapp.services.accounts import keys as api_keys
from webapp.services.accounts.rights import Right
from webapp.services.accounts.sessions import SignedIn, SignInProblem, TooManyAttempts
from webapp.services.system import secrets
from webapp.web import forms, states
from webapp.web.access import local_path, me, public, requires
from webapp.web.states import State

blueprint = Blueprint("accounts", __name__)

PENDING = "second_factor_pending"  # sealed: who gave the right password a moment ago
NEW_KEY = "new_api_key"
NEW_KEY_S = 300  # after that, a key that was not shown is lost


class SignInForm(FlaskForm):
    """Name and password."""

    username = StringField("User name", [InputRequired("Enter your user name.")])
    password = PasswordField("Password", [InputRequired("Enter your password.")])


class PasswordForm(FlaskForm):
    """A new password, and the current one to show that it is really you."""

    current = PasswordField("Current password", [InputRequired("Enter your current password.")])
    password = PasswordField("New password", [InputRequired("Enter a new password.")])
    again = PasswordField("Confirm new password", [EqualTo("password", "Passwords don't match.")])
    is_access_revoked = BooleanField(default=True)


class KeyForm(FlaskForm):
    """What a new API key is for."""

    name = StringField("Name", [InputRequired("Enter a name for the key.")])


@dataclass(frozen=True)
class AccountPage:
    """What accounts/account.html shows."""

    user: User
    has_two_factor: bool
    codes_left: int
    sessions: list[LoginSession]
    keys: list[APIKey]
    this_session: int
    new_key: str
    access: str

    @property
    def two_factor(self) -> State:
        """Whether a second factor is asked for."""
        return states.ON if self.has_two_factor else states.OFF


@blueprint.get("/sign-in")
@public
def sign_in() -> ResponseReturnValue:
    """Ask for name and password."""
    if current_user.is_authenticated:
        return hx.see_other(local_path(request.args.get("next", "/")))
    if not users.has_users():
        return hx.see_other(url_for("setup.index"))
    return _sign_in_page(SignInForm())


@blueprint.post("/sign-in")
@public
def sign_in_now() -> ResponseReturnValue:
    """Check name and password, then ask for the second factor or open a session."""
    form, address = SignInForm(), request.remote_addr or ""
    if not form.validate():
        return _sign_in_page(form, status=422)
    try:
        user = sessions.authenticate(form.username.data, form.password.data, address=address)
    except SignInProblem as problem:
        return _sign_in_page(form, problem, status=422)
    except TooManyAttempts as problem:
        response = hx.render(
            "accounts/sign_in.html", None, status=429, form=form, problem=problem, next=_next()
        )
        response.headers["Retry-After"] = str(sessions.ACCOUNT_BUCKET.refill_s)
        return response
    if two_factor.is_on(user):
        session[PENDING] = two_factor.pend(user)
        return hx.see_other(url_for("two_factor.ask", next=_next() if _next() != "/" else None))
    agent = request.user_agent.string
    begin(sessions.open_session(user, address=address, user_agent=agent))
    return hx.see_other(_next())


@blueprint.post("/sign-out")
@public
def sign_out() -> ResponseReturnValue:
    """End this session here and on the server."""
    if current_user.is_authenticated:
        sessions.end(me(), me().session_id)
    session.clear()
    flash("You've been signed out.", "ok")
    response = hx.see_other(url_for("accounts.sign_in"))
    # Not "cookies": the notice above travels in one. The session in it is over.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def begin(visitor: SignedIn) -> None:
    """Give the browser its new session; its earlier session state is dropped."""
    if current_user.is_authenticated:
        sessions.end(me(), me().session_id)
    session.clear()
    login_user(visitor)


def _sign_in_page(
    form: SignInForm, problem: SignInProblem | None = None, status: int = 200
) -> ResponseReturnValue:
    return hx.render(
        "accounts/sign_in.html", None, status=status, form=form, problem=problem, next=_next()
    )


def _next() -> str:
    return local_path(request.args.get("next", "/"))


# -- one's own account


@blueprint.get("/account")
@requires(Right.OWN_ACCESS)
def account() -> ResponseReturnValue:
    """Show what belongs to this account."""
    return _account_page()


@blueprint.post("/account/password")
@requires(Right.OWN_ACCESS)
def change_password() -> ResponseReturnValue:
    """Change the password; all other sessions end."""
    form = PasswordForm()
    if not form.validate():
        return _account_page(password_form=form, status=422)
    try:
        revoked = users.change_own_password(
            users.get(me().user_id),
            form.current.data,
            form.password.data,
            request.remote_addr or "",
            but=me().session_id,
            is_access_revoked=form.is_access_revoked.data,
        )
    except InvalidFields as problem:
        forms.show(problem, form)
        return _account_page(password_form=form, status=422)
    also = f" {revoked} API keys and tokens revoked." if revoked else ""
    flash(f"Password changed. You've been signed out everywhere else.{also}", "ok")
    return hx.see_other(url_for("accounts.account"))


@blueprint.post("/account/sessions/<int(max=2147483647):session_id>/end")
@requires(Right.OWN_ACCESS, is_confirmed=True)
def end_session(session_id: int) -> ResponseReturnValue:
    """End one of one's own sessions."""
    if session_id == me().session_id:
        return sign_out()
    if sessions.end(me(), session_id):
        flash("Session signed out.", "ok")
    else:
        flash("That session had already ended.", "info")
    return hx.see_other(url_for("accounts.account"))


@blueprint.post("/account/sessions/end-others")
@requires(Right.OWN_ACCESS, is_confirmed=True)
def end_other_sessions() -> ResponseReturnValue:
    """End all of one's own sessions but this one."""
    count = sessions.end_others(me())
    flash(f"Signed out of {counted(count, 'other session')}.", "ok")
    return hx.see_other(url_for("accounts.account"))


@blueprint.post("/account/keys")
@requires(Right.OWN_ACCESS, is_confirmed=True)
def add_key() -> ResponseReturnValue:
    """Create an API key; the next page shows it, once."""
    form = KeyForm()
    if not form.validate():
        return _account_page(key_form=form, status=422)
    try:
        key = api_keys.create_api_key(users.get(me().user_id), form.name.data)
    except InvalidFields as problem:
        forms.show(problem, form)
        return _account_page(key_form=form, status=422)
    session[NEW_KEY] = secrets.seal(key)  # the cookie is signed, but readable: so encrypted
    return hx.see_other(url_for("accounts.account", _anchor="keys"))


@blueprint.get("/account/keys/<int(max=2147483647):key_id>/revoke")
@requires(Right.OWN_ACCESS)
def confirm_revoke(key_id: int) -> ResponseReturnValue:
    """Ask before a key stops working."""
    key = _own_key(key_id)
    return hx.render(
        "accounts/revoke.html",
        None,
        what="API key",
        name=key.name,
        begins=key.consumer_key[:6],
        used_at=key.used_at,
        action=url_for("accounts.revoke_key", key_id=key.id),
        back=(url_for("accounts.account", _anchor="keys"), "Your account"),
    )


@blueprint.post("/account/keys/<int(max=2147483647):key_id>/revoke")
@requires(Right.OWN_ACCESS)
def revoke_key(key_id: int) -> ResponseReturnValue:
    """Delete one of one's own keys."""
    api_keys.revoke_api_key(users.get(me().user_id), key_id)
    flash("API key revoked.", "ok")
    return hx.see_other(url_for("accounts.account", _anchor="keys"))


def _own_key(key_id: int) -> APIKey:
    for key in api_keys.of_user(me().user_id):
        if key.id == key_id:
            return key
    raise NotFound(
        "API key not found.",
        where=f"API key {key_id}",
        next_step="It may have been revoked already. See the list of API keys.",
    )


def _account_page(
    *,
    password_form: PasswordForm | None = None,
    key_form: KeyForm | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    mine = me()
    user = users.get(mine.user_id)
    page = AccountPage(
        user=user,
        has_two_factor=two_factor.is_on(user),
        codes_left=len(user.recovery_hashes),
        sessions=list(sessions.of_user(mine.user_id)),
        keys=list(api_keys.of_user(mine.user_id)),
        this_session=mine.session_id,
        new_key=_take_new_key(),
        access=credentials.in_words(mine.user_id),
    )
    return hx.render(
        "accounts/account.html",
        None,
        status=status,
        page=page,
        # A form without input of its own must not read the other form's.
        password_form=password_form or PasswordForm(None),
        key_form=key_form or KeyForm(None),
    )


def _take_new_key() -> str:
    sealed = session.pop(NEW_KEY, "")
    try:
        return secrets.unseal(sealed, max_age_s=NEW_KEY_S)
    except secrets.SecretProblem:
        return ""
