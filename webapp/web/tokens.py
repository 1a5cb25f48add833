# SPDX-License-Identifier: Apache-2.0
"""One's own bearer tokens of ``/api/v1``: make, list, revoke."""

from __future__ import annotations

from flask import Blueprint, flash, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import IntegerField, SelectMultipleField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Optional

from webapp import hx
from webapp.errors import InvalidFields, NotFound
from webapp.models import APIToken, Role
from webapp.services.accounts import tokens, users
from webapp.services.accounts.tokens import ROLE_OF, Scope
from webapp.services.system import secrets
from webapp.web import forms
from webapp.web.access import me, requires

blueprint = Blueprint("tokens", __name__)

SHOWN = "token_shown_once"  # where the session keeps it, sealed, until the next page
SHOWN_S = 300  # a token that nobody looked at by then is not shown any more
MEANINGS = {
    Scope.READ: "See images, sources, imports and events",
    Scope.IMPORT: "Start and stop imports, read sources again",
    Scope.UPLOAD: "Upload images",
    Scope.ADMIN: "Everything else: sources, selections, deletion, settings, users",
}


class TokenForm(FlaskForm):
    """What a new token is for, what it may do, and for how long."""

    name = StringField("What is it for?", [InputRequired("Say what the token is for.")])
    scopes = SelectMultipleField("It may", choices=[SelectChoice(str(s), str(s)) for s in Scope])
    days = IntegerField("Days until it ends", [Optional()])


@blueprint.get("/account/tokens")
@requires(Role.VIEWER)
def index() -> ResponseReturnValue:
    """List them."""
    return _page(TokenForm(None, data={"scopes": ["read"]}))


@blueprint.post("/account/tokens")
@requires(Role.VIEWER)
def add() -> ResponseReturnValue:
    """Make one; the next page shows it, once."""
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
@requires(Role.VIEWER)
def confirm_revoke(token_id: int) -> ResponseReturnValue:
    """Ask before a token stops working."""
    token = _own(token_id)
    return hx.render(
        "accounts/revoke.html",
        None,
        what="token",
        name=token.name,
        begins=token.hint,
        used_at=token.used_at,
        action=url_for("tokens.revoke", token_id=token.id),
        back=(url_for("tokens.index"), "Your tokens"),
    )


@blueprint.post("/account/tokens/<int(max=2147483647):token_id>/revoke")
@requires(Role.VIEWER)
def revoke(token_id: int) -> ResponseReturnValue:
    """Delete one of one's own tokens."""
    tokens.revoke(users.get(me().user_id), token_id)
    flash("The token is revoked.", "ok")
    return hx.see_other(url_for("tokens.index"))


def _own(token_id: int) -> APIToken:
    for row in tokens.of_user(me().user_id):
        if row.id == token_id:
            return row
    raise NotFound(
        "There is no such token.",
        where=f"token {token_id}",
        next_step="It may have been revoked already; look at the list.",
    )


def _page(form: TokenForm, status: int = 200) -> ResponseReturnValue:
    role = me().role
    scopes = [
        (str(scope), text, users.covers(role, ROLE_OF[scope])) for scope, text in MEANINGS.items()
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
