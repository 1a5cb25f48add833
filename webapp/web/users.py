# SPDX-License-Identifier: Apache-2.0
"""Users, for administrators: who there is, what they may do, who is kept out."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import PasswordField, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired

from webapp import hx
from webapp.errors import InvalidFields
from webapp.models import Role, User
from webapp.services.accounts import two_factor, users
from webapp.web import forms
from webapp.web.access import me, requires

blueprint = Blueprint("users", __name__, url_prefix="/users")

ROLES = (
    (Role.VIEWER, "Viewer: sees everything, changes nothing"),
    (Role.OPERATOR, "Operator: also selects images, starts and stops imports"),
    (Role.ADMINISTRATOR, "Administrator: also boot sources, deletions and users"),
)
CHOICES = [SelectChoice(str(role), text) for role, text in ROLES]


class UserForm(FlaskForm):
    """A new user."""

    username = StringField("User name", [InputRequired("Choose a user name.")])
    role = SelectField("Role", choices=CHOICES, default=str(Role.VIEWER))
    password = PasswordField("First password", [InputRequired("Choose a password.")])


class RoleForm(FlaskForm):
    """What a user may do."""

    role = SelectField("Role", choices=CHOICES)


class ResetForm(FlaskForm):
    """A new password for somebody who lost theirs."""

    password = PasswordField("New password", [InputRequired("Choose a password.")])


@blueprint.get("/")
@requires(Role.ADMINISTRATOR)
def index() -> ResponseReturnValue:
    """List all users."""
    return hx.render("users/index.html", None, users=users.list_users())


@blueprint.get("/add")
@requires(Role.ADMINISTRATOR)
def add() -> ResponseReturnValue:
    """Ask for a new user's name, role and first password."""
    return hx.render("users/add.html", None, form=UserForm())


@blueprint.post("/add")
@requires(Role.ADMINISTRATOR)
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
@requires(Role.ADMINISTRATOR)
def show(user_id: int) -> ResponseReturnValue:
    """Show one user with what can be changed."""
    return _page(users.get(user_id))


@blueprint.post("/<int(max=2147483647):user_id>/role")
@requires(Role.ADMINISTRATOR)
def change_role(user_id: int) -> ResponseReturnValue:
    """Give a user another role."""
    user, form = users.get(user_id), RoleForm()
    if not form.validate():
        return _page(user, role_form=form, status=422)
    users.change_role(user, Role(form.role.data), actor=me().username)
    flash(f"{user.username} is {_article(user.role)} {user.role} now.", "ok")
    if user.id == me().user_id and user.role != Role.ADMINISTRATOR:
        return hx.see_other(url_for("accounts.account"))  # this page is not theirs any more
    return hx.see_other(url_for("users.show", user_id=user.id))


@blueprint.post("/<int(max=2147483647):user_id>/password")
@requires(Role.ADMINISTRATOR)
def reset_password(user_id: int) -> ResponseReturnValue:
    """Set somebody else's password and end their sessions."""
    user, form = users.get(user_id), ResetForm()
    if not form.validate():
        return _page(user, reset_form=form, status=422)
    try:
        users.reset_password(me(), user, form.password.data)
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(user, reset_form=form, status=422)
    flash(f"The password of {user.username} is changed; their sessions have ended.", "ok")
    return hx.see_other(url_for("users.show", user_id=user.id))


@blueprint.post("/<int(max=2147483647):user_id>/two-factor/remove")
@requires(Role.ADMINISTRATOR)
def remove_two_factor(user_id: int) -> ResponseReturnValue:
    """Remove the second factor of somebody who lost it."""
    user = users.get(user_id)
    if two_factor.reset(user, actor=me().username):
        flash(f"{user.username} signs in with the password alone now.", "ok")
    else:
        flash(f"{user.username} had no second factor.", "info")
    return hx.see_other(url_for("users.show", user_id=user.id))


@blueprint.post("/<int(max=2147483647):user_id>/active")
@requires(Role.ADMINISTRATOR)
def set_active(user_id: int) -> ResponseReturnValue:
    """Let a user in or keep them out."""
    user, is_active = users.get(user_id), request.form.get("is_active") == "yes"
    users.set_active(user, is_active, actor=me().username)
    text = "may sign in again" if is_active else "is kept out, and their sessions have ended"
    flash(f"{user.username} {text}.", "ok")
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
        user=user,
        is_me=user.id == me().user_id,
        has_two_factor=two_factor.is_on(user),
        role_form=role_form or RoleForm(None, role=user.role),
        reset_form=reset_form or ResetForm(None),
    )


def _article(role: str) -> str:
    return "a" if role == Role.VIEWER else "an"
