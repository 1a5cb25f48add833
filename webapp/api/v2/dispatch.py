# SPDX-License-Identifier: Apache-2.0
"""From a table of resources to routes: method and ``op`` choose the action."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from webapp.api.v2.arguments import Arguments, read_arguments
from webapp.api.v2.auth import caller
from webapp.errors import Conflict, InvalidFields, NotFound, Problem
from webapp.extensions import db
from webapp.models import Role, User

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMINISTRATOR: 2}


@dataclass(frozen=True)
class Call:
    """What an action gets: who asks, with which arguments."""

    user: User | None
    arguments: Arguments

    @property
    def actor(self) -> str:
        """The caller's name, for events."""
        return self.user.username if self.user else ""


@dataclass(frozen=True)
class Action:
    """One thing a resource can do.

    op: None for the plain method. role: the least role, None for anybody at all.
    The docstring of ``run`` is what ``describe/`` says about it.
    """

    name: str
    method: str
    run: Callable[..., Response]
    role: Role | None = Role.VIEWER
    op: str | None = None


@dataclass(frozen=True)
class Resource:
    """A path with its actions; ``name`` is what clients derive their own names from."""

    name: str
    path: str
    actions: tuple[Action, ...]
    params: tuple[str, ...] = ()


def add_resource(blueprint: Blueprint, resource: Resource) -> None:
    """Route every method of the path to the resource's actions."""

    def view(**params: int) -> Response:
        return _answer(resource, params)

    blueprint.add_url_rule(
        resource.path,
        endpoint=resource.name,
        view_func=view,
        methods=["GET", "POST", "PUT", "DELETE", "PATCH"],
        provide_automatic_options=False,
    )


def _answer(resource: Resource, params: dict[str, int]) -> Response:
    user = caller(request)
    try:
        arguments = read_arguments(request)
        action = _chosen(resource, arguments)
        if action is None:
            return text(
                f"Unrecognised signature: method={request.method} op={_op(arguments)}", 400
            )
        refusal = _refusal(action, user)
        return refusal or action.run(Call(user, arguments), **params)
    except InvalidFields as problem:
        db.session.rollback()
        return as_json(problem.fields, 400)
    except NotFound:
        return text("Not Found", 404)
    except Conflict as problem:
        db.session.rollback()
        return text(str(problem), 409)
    except Problem as problem:
        db.session.rollback()
        return text(str(problem), 400)


def _op(arguments: Arguments) -> str | None:
    # Go clients write dashes; an empty op is no op (spec api, sections 1 and 9).
    return arguments.text("op").replace("-", "_") or None


def _chosen(resource: Resource, arguments: Arguments) -> Action | None:
    wanted = (request.method, _op(arguments))
    return next((a for a in resource.actions if (a.method, a.op) == wanted), None)


def _refusal(action: Action, user: User | None) -> Response | None:
    if action.role is None:
        return None
    if user is None:
        has_key = "Authorization" in request.headers
        response = text(
            "Authorization Error: Invalid API key." if has_key else "Unauthorized", 401
        )
        response.headers["WWW-Authenticate"] = 'OAuth realm="OAuth"'
        return response
    if RANK[Role(user.role)] < RANK[action.role]:
        return text("This method is reserved for admin users.", 403)
    return None


# -- answers

REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
}


def as_json(value: Any, status: int = 200) -> Response:
    """A JSON answer; reason phrases in mixed case, since the Terraform provider reads them."""
    return _response(json.dumps(value), status, JSON)


def text(value: str, status: int = 200) -> Response:
    """A plain text answer."""
    return _response(value, status, TEXT)


def deleted() -> Response:
    """204 with a content type: without one the stock command line crashes (section 8)."""
    return _response("", 204, "text/plain")


def _response(body: str, status: int, content_type: str) -> Response:
    response = Response(body, status=f"{status} {REASONS[status]}", content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    return response
