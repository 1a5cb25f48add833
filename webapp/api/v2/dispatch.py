# SPDX-License-Identifier: Apache-2.0
"""From a table of resources to routes: method and ``op`` choose the action."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import structlog
from flask import Flask, Response, g, request

from webapp.api.v2 import answers
from webapp.api.v2.arguments import Arguments, read_arguments
from webapp.api.v2.auth import identify
from webapp.errors import InvalidFields, Problem
from webapp.extensions import settings
from webapp.http import dispatch
from webapp.http.bodies import MAX_BODY_BYTES, Incoming
from webapp.http.dispatch import METHODS, Params
from webapp.models import APIKey, User
from webapp.services.accounts import rights
from webapp.services.accounts.rights import Right

API = "/MAAS/api/2.0"
# MAAS has no finer statuses than these.
FOLDED = {405: 400, 412: 400, 415: 400, 422: 400, 423: 409, 460: 400}
_PLACEHOLDER = re.compile(r"{(\w+)}")
_CONVERTERS = {"system_id": "string(maxlength=64)"}  # all others are ids


@dataclass(frozen=True)
class ActionCall:
    """What an action gets: who calls, with which arguments.

    key is None for public actions. body: see ``incoming``.
    """

    key: APIKey | None
    arguments: Arguments
    body: Incoming | None = None

    @property
    def incoming(self) -> Incoming:
        """The raw body; only for actions that say ``takes_bytes``."""
        if self.body is None:
            raise LookupError("an action that takes arguments asked for the body")
        return self.body

    @property
    def caller(self) -> User:
        """Who calls; only for actions that need a right."""
        if self.key is None:
            raise LookupError("a public action asked for its caller")
        return self.key.user

    @property
    def actor(self) -> str:
        """The caller's name, for events."""
        return self.caller.username


@dataclass(frozen=True)
class Action:
    """One thing a resource can do. The docstring of ``run`` describes it to clients.

    op: "" for the plain method. right: what callers need, None for a public action.
    takes_bytes: its body isn't arguments but bytes, which the action reads.
    max_bytes: of a body with arguments.
    """

    name: str
    method: str
    run: Callable[..., Response]
    right: Right | None = Right.SEE
    op: str = ""
    takes_bytes: bool = False
    max_bytes: int = MAX_BODY_BYTES


@dataclass(frozen=True)
class Resource:
    """A path with its actions; clients derive their own names from ``name``.

    path: the whole path, with ``{id}`` for its parameters.
    """

    name: str
    path: str
    doc: str
    actions: tuple[Action, ...]

    @cached_property
    def params(self) -> tuple[str, ...]:
        """The parameters of the path, in order."""
        return tuple(_PLACEHOLDER.findall(self.path))

    @property
    def rule(self) -> str:
        """The path as Flask routes it."""
        return _PLACEHOLDER.sub(lambda m: f"<{_CONVERTERS.get(m[1], 'int')}:{m[1]}>", self.path)

    @property
    def is_public(self) -> bool:
        """Whether it can be called without a key."""
        return all(action.right is None for action in self.actions)


class _Dialect:
    """API keys, forms of any kind, and text for errors (rule: rest-answers)."""

    def authenticate(self, resource: Resource) -> APIKey | None:
        if resource.is_public:
            return None
        key = identify(request, root(), lambda: _arguments(resource))
        structlog.contextvars.bind_contextvars(user=key.user.username)
        return key

    def read(self, resource: Resource, key: APIKey | None, params: Params) -> ActionCall:
        incoming = Incoming(request) if _takes_bytes(resource) else None
        return ActionCall(key, _arguments(resource), incoming)

    def run(self, resource: Resource, call: ActionCall, params: Params) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        op = call.arguments.op
        for action in resource.actions:
            if (action.method, action.op) == (method, op):
                if not _is_allowed(action, call.key):
                    raise Problem("User is not allowed access to this API.", code="forbidden")
                return action.run(call, **params)
        raise Problem(
            f"Unrecognised signature: method={method} op={op[:60] or None}", code="refused"
        )

    def refuse(self, problem: Problem) -> Response:
        if isinstance(problem, InvalidFields):
            return answers.as_json(problem.fields, 400)
        status = problem.kind.status
        if status == 404:
            return answers.text("Not Found", 404)
        if status == 401:
            return answers.unauthorised(str(problem))
        response = answers.text(str(problem), FOLDED.get(status, status))
        return dispatch.add_retry_after(response, problem)


_DIALECT = _Dialect()


def add_resource(app: Flask, resource: Resource) -> None:
    """Route every method of the path to the resource's actions."""

    def view(**params: int | str) -> Response:
        return dispatch.answer(_DIALECT, resource, request, params)

    app.add_url_rule(
        resource.rule,
        endpoint=f"api_v2.{resource.name}",
        view_func=view,
        methods=METHODS,
        provide_automatic_options=False,
    )


def _actions(resource: Resource) -> list[Action]:
    return [action for action in resource.actions if action.method == request.method]


def _takes_bytes(resource: Resource) -> bool:
    return any(action.takes_bytes for action in _actions(resource))


def _arguments(resource: Resource) -> Arguments:
    """The arguments of this request. The body is read once: a signature may cover it."""
    if "arguments" not in g:
        largest = max((one.max_bytes for one in _actions(resource)), default=MAX_BODY_BYTES)
        is_raw = _takes_bytes(resource)
        g.arguments = Arguments() if is_raw else read_arguments(request, largest)
    found: Arguments = g.arguments
    return found


def root() -> str:
    """Scheme and host as the client sees them, since it calls back there.

    X-Forwarded-Host is used only from as many proxies as the settings trust;
    middleware takes the scheme from them.
    """
    host = request.host or f"{request.environ['SERVER_NAME']}:{request.environ['SERVER_PORT']}"
    trusted = settings().trusted_proxies
    forwarded = [one.strip() for one in request.headers.get("X-Forwarded-Host", "").split(",")]
    if trusted and len(forwarded) >= trusted and forwarded[-trusted]:
        host = forwarded[-trusted]
    return f"{request.scheme}://{host}"


def _is_allowed(action: Action, key: APIKey | None) -> bool:
    return action.right is None or (key is not None and rights.may(key.user.role, action.right))
