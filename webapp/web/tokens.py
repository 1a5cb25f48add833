# SPDX-License-Identifier: Apache-2.0
"""One's own bearer tokens of ``/api/v1``: create, list, revoke."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, flash, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import IntegerField, SelectMultipleField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Optional

from webapp import hx
from webapp.errors import InvalidFields, NotFound
from webapp.models import APIToken
from webapp.services.accounts import rights, tokens, users
from webapp.services.accounts.rights import Right, Scope
from webapp.services.system import secrets
from webapp.web import forms
from webapp.web.access import me, requires

blueprint = Blueprint("tokens", __name__)

SHOWN = "token_shown_once"  # where the session keeps it, sealed, until the next page
SHOWN_S = 300  # after that, a token that was not shown is lost
MEANINGS = {
    Scope.READ: "See images, sources, imports and events",
    Scope.IMPORT: "Start and stop imports, refresh sources",
    Scope.SELECT: "Select and deselect images",
    Scope.UPLOAD: "Upload images",
    Scope.ADMIN: "Change sources and settings, delete images, list users",
    Scope.ACCOUNTS: "Create API keys, tokens and users, change your password",
}


class TokenForm(FlaskForm):
    """What a new token is for, what it may do, and for how long."""

    name = StringField("Name", [InputRequired("Enter a name for the token.")])
    scopes = SelectMultipleField("Scopes", choices=[SelectChoice(str(s), str(s)) for s in Scope])
    days = IntegerField("Expires after (days)", [Optional()])


@dataclass(frozen=True)
class ScopeChoice:
    """A scope as a check box; ``is_allowed`` when the visitor's role covers it."""

    value: str
    meaning: str
    is_allowed: bool
    is_checked: bool

    @property
    def help(self) -> str:
        """What the scope allows, and why it can't be chosen."""
        return self.meaning + ("" if self.is_allowed else ". Your role doesn't allow this.")


@blueprint.get("/account/tokens")
@requires(Right.OWN_ACCESS)
def index() -> ResponseReturnValue:
    """List them."""
    return _page(TokenForm(None, data={"scopes": ["read"], "days": tokens.DEFAULT_DAYS}))


@blueprint.post("/account/tokens")
@requires(Right.OWN_ACCESS, is_confirmed=True)
def add() -> ResponseReturnValue:
    """Create one; the next page shows it, once."""
    form = TokenForm()
    if not form.validate():
        return _page(form, status=422)
    user = users.get(me().user_id)
    try:
        _, token = tokens.create(user, form.name.data, form.scopes.data or [], days=form.days.data)
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(form, status=422)
    session[SHOWN] = secrets.seal(token)  # the cookie is signed, but readable: so encrypted
    return hx.see_other(url_for("tokens.index"))


@blueprint.get("/account/tokens/<int(max=2147483647):token_id>/revoke")
@requires(Right.OWN_ACCESS)
def confirm_revoke(token_id: int) -> ResponseReturnValue:
    """Ask before a token stops working."""
    token = _own(token_id)
    return hx.render(
        "accounts/revoke.html",
        None,
        what="API token",
        name=token.name,
        begins=token.hint,
        used_at=token.used_at,
        action=url_for("tokens.revoke", token_id=token.id),
        back=(url_for("tokens.index"), "Your tokens"),
    )


@blueprint.post("/account/tokens/<int(max=2147483647):token_id>/revoke")
@requires(Right.OWN_ACCESS)
def revoke(token_id: int) -> ResponseReturnValue:
    """Delete one of one's own tokens."""
    tokens.revoke(users.get(me().user_id), token_id)
    flash("API token revoked.", "ok")
    return hx.see_other(url_for("tokens.index"))


def _own(token_id: int) -> APIToken:
    for row in tokens.of_user(me().user_id):
        if row.id == token_id:
            return row
    raise NotFound(
        "API token not found.",
        where=f"token {token_id}",
        next_step="It may have been revoked already. See the list of tokens.",
    )


def _page(form: TokenForm, status: int = 200) -> ResponseReturnValue:
    role = me().role
    chosen = form.scopes.data or []
    scopes = [
        ScopeChoice(str(scope), text, scope in rights.scopes_of(role), scope in chosen)
        for scope, text in MEANINGS.items()
    ]
    return hx.render(
        "accounts/tokens.html",
        None,
        status=status,
        form=form,
        scopes=scopes,
        tokens=tokens.of_user(me().user_id),
        new_token=_take_new(),
    )


def _take_new() -> str:
    try:
        return secrets.unseal(session.pop(SHOWN, ""), max_age_s=SHOWN_S)
    except secrets.SecretProblem:
        return ""
