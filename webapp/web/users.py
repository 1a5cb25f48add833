# SPDX-License-Identifier: Apache-2.0
"""Users, for administrators: list, add, disable, delete, change roles and passwords."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import BooleanField, PasswordField, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired

from webapp import hx
from webapp.errors import InvalidFields
from webapp.models import Role, User
from webapp.services.accounts import credentials, lineage, two_factor, users
from webapp.services.accounts.rights import Right
from webapp.severity import Severity
from webapp.web import forms, states
from webapp.web.access import me, requires
from webapp.web.states import State

blueprint = Blueprint("users", __name__, url_prefix="/users")

ROLES = (
    (Role.VIEWER, "Viewer: read-only"),
    (Role.OPERATOR, "Operator: can also select images and start or stop imports"),
    (Role.ADMINISTRATOR, "Administrator: full access"),
)
ACTIVE = State(Severity.OK, "Active")
DISABLED = State(Severity.OFF, "Disabled")
EXPIRED = State(Severity.OFF, "Expired")
CHOICES = [SelectChoice(str(role), text) for role, text in ROLES]


@dataclass(frozen=True)
class UserRow:
    """A user as the list and the user's own page show it."""

    user: User
    has_two_factor: bool
    access: str = ""

    @property
    def state(self) -> State:
        """Whether the user can sign in."""
        if self.user.is_active:
            return ACTIVE if lineage.is_live(self.user) else EXPIRED
        return DISABLED

    @property
    def two_factor(self) -> State:
        """Whether a second factor is asked for."""
        return states.ON if self.has_two_factor else states.OFF


class UserForm(FlaskForm):
    """A new user."""

    username = StringField("User name", [InputRequired("Choose a user name.")])
    role = SelectField("Role", choices=CHOICES, default=str(Role.VIEWER))
    password = PasswordField("Initial password", [InputRequired("Choose a password.")])


class RoleForm(FlaskForm):
    """What a user may do."""

    role = SelectField("Role", choices=CHOICES)


class ResetForm(FlaskForm):
    """A new password for a user who lost theirs."""

    password = PasswordField("New password", [InputRequired("Choose a password.")])
    is_access_revoked = BooleanField(default=True)


@blueprint.get("/")
@requires(Right.USERS)
def index() -> ResponseReturnValue:
    """List all users."""
    return hx.render("users/index.html", None, rows=[_row(user) for user in users.list_users()])


@blueprint.get("/add")
@requires(Right.USERS)
def add() -> ResponseReturnValue:
    """Ask for a new user's name, role and initial password."""
    return hx.render("users/add.html", None, form=UserForm())


@blueprint.post("/add")
@requires(Right.USERS, is_confirmed=True)
def add_now() -> ResponseReturnValue:
    """Add a user."""
    form = UserForm()
    if not form.validate():
        return hx.render("users/add.html", None, status=422, form=form)
    try:
        user = users.create_user(
            form.username.data, form.password.data, Role(form.role.data), actor=me().username
        )
    except InvalidFields as problem:
        forms.show(problem, form)
        return hx.render("users/add.html", None, status=422, form=form)
    flash(f"Added {user.username}.", "ok")
    return hx.see_other(url_for("users.index"))


@blueprint.get("/<int(max=2147483647):user_id>")
@requires(Right.USERS)
def show(user_id: int) -> ResponseReturnValue:
    """Show one user with what can be changed."""
    return _page(users.get(user_id))


@blueprint.post("/<int(max=2147483647):user_id>/role")
@requires(Right.USERS, is_confirmed=True)
def change_role(user_id: int) -> ResponseReturnValue:
    """Give a user another role."""
    user, form = users.get(user_id), RoleForm()
    if not form.validate():
        return _page(user, role_form=form, status=422)
    users.change_role(user, Role(form.role.data), actor=me().username)
    flash(f"{user.username} is now {_article(user.role)} {user.role}.", "ok")
    if user.id == me().user_id and user.role != Role.ADMINISTRATOR:
        return hx.see_other(url_for("accounts.account"))  # they can no longer open this page
    return hx.see_other(url_for("users.show", user_id=user.id))


@blueprint.post("/<int(max=2147483647):user_id>/password")
@requires(Right.USERS, is_confirmed=True)
def reset_password(user_id: int) -> ResponseReturnValue:
    """Set another user's password and end their sessions."""
    user, form = users.get(user_id), ResetForm()
    if not form.validate():
        return _page(user, reset_form=form, status=422)
    try:
        revoked = users.reset_password(
            me(), user, form.password.data, is_access_revoked=form.is_access_revoked.data
        )
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(user, reset_form=form, status=422)
    also = f" {revoked} API keys and tokens revoked." if revoked else ""
    flash(f"Password changed. {user.username} has been signed out everywhere.{also}", "ok")
    return hx.see_other(url_for("users.show", user_id=user.id))


@blueprint.post("/<int(max=2147483647):user_id>/two-factor/remove")
@requires(Right.USERS, is_confirmed=True)
def remove_two_factor(user_id: int) -> ResponseReturnValue:
    """Remove the second factor of a user who lost it."""
    user = users.get(user_id)
    if two_factor.reset(user, actor=me().username):
        flash(f"Two-factor authentication is off for {user.username}.", "ok")
    else:
        flash(f"Two-factor authentication was already off for {user.username}.", "info")
    return hx.see_other(url_for("users.show", user_id=user.id))


@blueprint.post("/<int(max=2147483647):user_id>/active")
@requires(Right.USERS, is_confirmed=True)
def set_active(user_id: int) -> ResponseReturnValue:
    """Enable or disable a user."""
    user, is_active = users.get(user_id), request.form.get("is_active") == "yes"
    users.set_active(user, is_active, actor=me().username)
    text = "can sign in again" if is_active else "is disabled and has been signed out"
    flash(f"{user.username} {text}.", "ok")
    return hx.see_other(url_for("users.show", user_id=user.id))


@blueprint.get("/<int(max=2147483647):user_id>/delete")
@requires(Right.USERS)
def ask_delete(user_id: int) -> ResponseReturnValue:
    """Show what is lost with a user, and ask."""
    user = users.get(user_id)
    row = UserRow(user, two_factor.is_on(user), credentials.in_words(user.id))
    return hx.render("users/delete.html", None, row=row)


@blueprint.post("/<int(max=2147483647):user_id>/delete")
@requires(Right.USERS, is_confirmed=True)
def delete(user_id: int) -> ResponseReturnValue:
    """Delete a user."""
    user = users.get(user_id)
    name = user.username
    users.remove(user, actor=me().username)
    flash(f"Deleted {name}.", "ok")
    return hx.see_other(url_for("users.index"))


@blueprint.post("/<int(max=2147483647):user_id>/keep")
@requires(Right.USERS, is_confirmed=True)
def keep(user_id: int) -> ResponseReturnValue:
    """Let a user no longer end with the token that created them."""
    user = users.get(user_id)
    users.keep(user, actor=me().username)
    flash(f"{user.username} no longer ends with a token.", "ok")
    return hx.see_other(url_for("users.show", user_id=user.id))


def _page(
    user: User,
    *,
    role_form: RoleForm | None = None,
    reset_form: ResetForm | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    return hx.render(
        "users/show.html",
        None,
        status=status,
        row=UserRow(user, two_factor.is_on(user), credentials.in_words(user.id)),
        is_me=user.id == me().user_id,
        role_form=role_form or RoleForm(None, role=user.role),
        reset_form=reset_form or ResetForm(None),
    )


def _row(user: User) -> UserRow:
    return UserRow(user, two_factor.is_on(user))


def _article(role: str) -> str:
    return "a" if role == Role.VIEWER else "an"
