# SPDX-License-Identifier: Apache-2.0
"""``users/``: the caller, and all users (rule: rest-version)."""

from __future__ import annotations

from flask import Response

from webapp.api.v2.answers import as_json
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.models import Role, User
from webapp.services.accounts import users
from webapp.services.accounts.rights import Right

PATH = f"{API}/users/"


def read_all(call: ActionCall) -> Response:
    """List all users."""
    return as_json([as_dict(user) for user in users.list_users()])


def whoami(call: ActionCall) -> Response:
    """Show the user whose key this is."""
    return as_json(as_dict(call.caller))


def as_dict(user: User) -> dict[str, object]:
    """A user as clients read it."""
    return {
        "username": user.username,
        "email": user.email,
        "is_superuser": user.role == Role.ADMINISTRATOR,
        "is_local": True,
        "resource_uri": f"{PATH}{user.username}/",
    }


RESOURCES = (
    Resource(
        "UsersHandler",
        PATH,
        "All users.",
        (
            Action("read", "GET", read_all, Right.MANAGE),
            Action("whoami", "GET", whoami, op="whoami"),
        ),
    ),
)
