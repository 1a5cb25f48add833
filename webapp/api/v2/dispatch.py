# SPDX-License-Identifier: Apache-2.0
"""From a table of resources to routes: method and ``op`` choose the action."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import structlog
from flask import Flask, Response, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from werkzeug.routing import BaseConverter

from webapp.api.v2 import answers, bodies
from webapp.api.v2.arguments import Arguments, read_arguments
from webapp.api.v2.auth import caller
from webapp.api.v2.bodies import BodyTooLarge
from webapp.errors import Conflict, InvalidFields, NotFound, Problem
from webapp.extensions import db
from webapp.models import Role, User
from webapp.services.accounts import users
from webapp.services.accounts.sessions import SignInProblem, TooManyAttempts

API = "/MAAS/api/2.0"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LARGEST_ID = 2**31 - 1  # PostgreSQL compares no larger one with an id
_PLACEHOLDER = re.compile(r"{(\w+)}")
_KINDS = {"system_id": "string(maxlength=64)"}  # all others are ids

log = structlog.get_logger(__name__)


class Number(BaseConverter):
    """An id in an address; one that is too long to be one is no match, and so not found."""

    regex = "[0-9]{1,10}"

    def to_python(self, value: str) -> int:
        # Raising would end the routing without an answer of ours, and nought is nobody's id.
        number = int(value)
        return number if number <= LARGEST_ID else 0


@dataclass(frozen=True)
class Call:
    """What an action gets: who asks, with which arguments.

    user is None for actions that anybody may call. body: see ``incoming``.
    """

    user: User | None
    arguments: Arguments
    body: bodies.Incoming | None = None

    @property
    def incoming(self) -> bodies.Incoming:
        """The body as it comes; only for actions that say ``takes_bytes``."""
        if self.body is None:
            raise LookupError("an action that takes arguments asked for the body")
        return self.body

    @property
    def caller(self) -> User:
        """Who asks; only for actions that name a role."""
        if self.user is None:
            raise LookupError("an action for anybody asked for its caller")
        return self.user

    @property
    def actor(self) -> str:
        """The caller's name, for events."""
        return self.caller.username


@dataclass(frozen=True)
class Action:
    """One thing a resource can do.

    op: "" for the plain method. role: the least role, None for anybody at all.
    takes_bytes: its body is no arguments but bytes, and is read by the action.
    largest: bytes of a body with arguments.
    The docstring of ``run`` is what ``describe/`` says about it.
    """

    name: str
    method: str
    run: Callable[..., Response]
    role: Role | None = Role.VIEWER
    op: str = ""
    takes_bytes: bool = False
    largest: int = bodies.MAX_BODY


@dataclass(frozen=True)
class Resource:
    """A path with its actions; clients derive their own names from ``name``.

    path: the whole one, with ``{id}`` for what an address names.
    """

    name: str
    path: str
    doc: str
    actions: tuple[Action, ...]

    @cached_property
    def params(self) -> tuple[str, ...]:
        """What the path names, in its order."""
        return tuple(_PLACEHOLDER.findall(self.path))

    @property
    def rule(self) -> str:
        """The path as Flask routes it."""
        return _PLACEHOLDER.sub(lambda m: f"<{_KINDS.get(m[1], 'number')}:{m[1]}>", self.path)

    @property
    def is_public(self) -> bool:
        """Whether anybody at all may call it."""
        return all(action.role is None for action in self.actions)


def add_resource(app: Flask, resource: Resource) -> None:
    """Route every method of the path to the resource's actions."""

    def view(**params: int | str) -> Response:
        return _answer(resource, params)

    app.add_url_rule(
        resource.rule,
        endpoint=f"api_v2.{resource.name}",
        view_func=view,
        methods=METHODS,
        provide_automatic_options=False,
    )


def _answer(resource: Resource, params: dict[str, int | str]) -> Response:
    try:
        user = None if resource.is_public else caller(request)
        if user is None and not resource.is_public:
            bodies.drain(request)
            has_key = "Authorization" in request.headers
            return answers.unauthorised("Invalid API key." if has_key else "No API key.")
        return _act(resource, _call(resource, user), params)
    except InvalidFields as problem:
        bodies.drain(request)
        return answers.as_json(problem.fields, 400)
    except (IntegrityError, StaleDataError, ObjectDeletedError) as error:
        # Two calls at the same moment; what the database refused is the later one.
        log.warning("a change met another one", error=type(error).__name__)
        return answers.text("Somebody else changed the same thing just now. Try again.", 409)
    except Problem as problem:
        bodies.drain(request)
        return _refused(problem)
    finally:
        db.session.rollback()  # services have committed what is to stay


def _call(resource: Resource, user: User | None) -> Call:
    mine = [action for action in resource.actions if action.method == request.method]
    if any(action.takes_bytes for action in mine):
        return Call(user, Arguments(), bodies.Incoming(request))
    largest = max((action.largest for action in mine), default=bodies.MAX_BODY)
    return Call(user, read_arguments(request, largest))


def _act(resource: Resource, call: Call, params: dict[str, int | str]) -> Response:
    method = "GET" if request.method == "HEAD" else request.method
    op = call.arguments.op
    for action in resource.actions:
        if (action.method, action.op) == (method, op):
            if not _is_allowed(action, call.user):
                bodies.drain(request)
                return answers.text("User is not allowed access to this API.", 403)
            return action.run(call, **params)
    shown = op[:60] or "None"
    return answers.text(f"Unrecognised signature: method={method} op={shown}", 400)


def _is_allowed(action: Action, user: User | None) -> bool:
    return action.role is None or (user is not None and users.covers(user.role, action.role))


def _refused(problem: Problem) -> Response:
    if isinstance(problem, NotFound):
        return answers.text("Not Found", 404)
    if isinstance(problem, SignInProblem):
        return answers.unauthorised(str(problem))
    statuses = {Conflict: 409, BodyTooLarge: 413, TooManyAttempts: 429}
    status = next((s for kind, s in statuses.items() if isinstance(problem, kind)), 400)
    return answers.text(str(problem), status)
