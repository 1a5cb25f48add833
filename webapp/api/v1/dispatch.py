# SPDX-License-Identifier: Apache-2.0
"""From endpoints to routes: typed arguments in, a typed response or a problem out.

An endpoint is a plain function of a ``Call``. Its annotations say what it takes
and returns: routes, checks and the OpenAPI document are all made of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar, get_args, get_type_hints

import structlog
from flask import Flask, Response, request
from pydantic import BaseModel, ValidationError

from webapp.api.v1 import answers
from webapp.api.v1.callers import Caller, demand, demand_code, identify
from webapp.api.v1.schemas import Empty, is_storable
from webapp.errors import NotFound, Problem
from webapp.http import dispatch
from webapp.http.bodies import MAX_BODY_BYTES, Incoming, drain, read
from webapp.http.dispatch import Params
from webapp.services.accounts.rights import Right

API = "/api/v1"
_PARAM = re.compile(r"<(?:(\w+):)?(\w+)>")

Query = TypeVar("Query", bound=BaseModel)
Body = TypeVar("Body", bound=BaseModel | None)
Schema = TypeVar("Schema", bound=BaseModel)
Run = TypeVar("Run", bound=Callable[..., BaseModel | Response | None])


@dataclass(frozen=True)
class Call(Generic[Query, Body]):
    """What an endpoint gets: who calls, and what they sent, checked."""

    caller: Caller
    query: Query
    body: Body
    incoming: Incoming | None = None

    @property
    def actor(self) -> str:
        """The caller's name, for events."""
        return self.caller.name

    @property
    def stream(self) -> Incoming:
        """The raw body; only for endpoints that say ``takes_bytes``."""
        if self.incoming is None:
            raise LookupError("an endpoint without takes_bytes asked for the stream")
        return self.incoming


PlainCall = Call[Empty, None]
AnyCall = Call[BaseModel, BaseModel | None]


@dataclass(frozen=True)
class Endpoint:
    """One method of one path below ``/api/v1``; the docstring of ``run`` is its description.

    path: as Flask routes it, e.g. ``/sources/<int:id>``. state: the resource that
    If-Match is compared with before a write. needs_code: of users with a second factor.
    """

    method: str
    path: str
    run: Callable[..., BaseModel | Response | None]
    right: Right
    tag: str
    status: int = 200
    state: Callable[..., BaseModel] | None = None
    takes_bytes: bool = False
    needs_code: bool = False

    @property
    def name(self) -> str:
        """The operation's id."""
        return f"{self.tag}_{self.run.__name__}"

    @cached_property
    def query(self) -> type[BaseModel]:
        """The schema of the query string."""
        return self._call_types[0]

    @cached_property
    def body(self) -> type[BaseModel] | None:
        """The schema of the JSON body; None for endpoints without one."""
        found = self._call_types[1]
        return found if issubclass(found, BaseModel) else None

    @cached_property
    def answer(self) -> type[BaseModel] | None:
        """The schema of the response; None for 204 and for what isn't JSON."""
        found = get_type_hints(self.run)["return"]
        is_model = isinstance(found, type) and issubclass(found, BaseModel)
        return found if is_model else None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the paths of this endpoint, whatever their values."""
        return re.compile(API + _PARAM.sub("[^/]+", self.path))

    @cached_property
    def _call_types(self) -> tuple[type[BaseModel], type[BaseModel | None]]:
        query, body = get_args(get_type_hints(self.run)["call"])
        return query, body


@dataclass
class Routes:
    """Collects the endpoints of a module."""

    tag: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def __call__(
        self,
        method: str,
        path: str,
        right: Right,
        *,
        status: int = 200,
        state: Callable[..., BaseModel] | None = None,
        takes_bytes: bool = False,
        needs_code: bool = False,
    ) -> Callable[[Run], Run]:
        """Make an endpoint of a function. See ``Endpoint``."""

        def add(run: Run) -> Run:
            self.endpoints.append(
                Endpoint(method, path, run, right, self.tag, status, state, takes_bytes, needs_code)
            )
            return run

        return add


class _Dialect:
    """Bearer tokens, JSON, and problems as RFC 9457 defines them."""

    def authenticate(self, endpoint: Endpoint) -> Caller:
        caller = identify(request)
        structlog.contextvars.bind_contextvars(user=caller.name)
        demand(caller, endpoint.right)
        return caller

    def read(self, endpoint: Endpoint, caller: Caller, params: Params) -> AnyCall:
        if not all(is_storable(value) for value in params.values() if isinstance(value, str)):
            raise _no_such_path()
        incoming = Incoming(request) if endpoint.takes_bytes else None
        try:
            body = None if endpoint.body is None else read_body(endpoint.body)
            return Call(caller, read_query(endpoint.query), body, incoming)
        except ValidationError as error:
            raise answers.invalid(error) from None

    def run(self, endpoint: Endpoint, call: AnyCall, params: Params) -> Response:
        _check_match(endpoint, call, params)
        if endpoint.needs_code:
            demand_code(call.caller, request)
        return _response_of(endpoint, endpoint.run(call, **params))

    def refuse(self, problem: Problem) -> Response:
        return answers.problem(problem)


_DIALECT = _Dialect()


def view_of(endpoint: Endpoint) -> Callable[..., Response]:
    """The view of an endpoint, with its docstring, for Flask and for the document."""

    def view(**params: int | str) -> Response:
        return dispatch.answer(_DIALECT, endpoint, request, params)

    view.__name__ = endpoint.name
    view.__doc__ = endpoint.run.__doc__
    return view


def add_unknown(app: Flask, endpoints: tuple[Endpoint, ...]) -> None:
    """One answer for every other path and method."""

    def unknown(rest: str = "") -> Response:
        drain(request)
        known = {e.method for e in endpoints if e.pattern.fullmatch(request.path)}
        if not known or request.method in known:
            return answers.problem(_no_such_path())
        allowed = sorted(known | ({"HEAD"} if "GET" in known else set()))
        response = answers.problem(
            Problem(
                "This address doesn't accept that method.",
                code="method",
                where=request.path,
                expected=" ".join(allowed),
                got=request.method,
            )
        )
        response.headers["Allow"] = ", ".join(allowed)
        return response

    for rule in (f"{API}/<path:rest>", f"{API}/"):
        app.add_url_rule(
            rule,
            endpoint=f"api_v1.unknown{len(rule)}",
            view_func=unknown,
            methods=dispatch.METHODS,
            provide_automatic_options=False,
        )


def _response_of(endpoint: Endpoint, result: BaseModel | Response | None) -> Response:
    if result is None:
        return Response(status=204)
    if isinstance(result, Response):
        return result
    response = answers.as_json(result, endpoint.status)
    if endpoint.method == "GET" and answers.is_known(request, response):
        unchanged = Response(status=304)
        unchanged.headers["ETag"] = response.headers["ETag"]
        return unchanged
    return response


def read_query(schema: type[Schema]) -> Schema:
    """The query string. Raises ValidationError."""
    values = {name: request.args.getlist(name)[-1] for name in request.args}
    return schema.model_validate(values)


def read_body(schema: type[Schema], max_bytes: int = MAX_BODY_BYTES) -> Schema:
    """The JSON body. Raises ValidationError, BodyTooLarge, or Problem for another type."""
    raw = read(request, max_bytes)
    if raw and request.mimetype != answers.JSON:
        raise Problem(
            "This type of body isn't accepted here.",
            code="body-type",
            where="the Content-Type header",
            expected=answers.JSON,
            got=request.mimetype[:60] or "none",
        )
    return schema.model_validate_json(raw or b"{}")


def _check_match(endpoint: Endpoint, call: AnyCall, params: Params) -> None:
    """Refuse to change what is no longer what the client read (RFC 9110, 13.1.1)."""
    if endpoint.state is None or "If-Match" not in request.headers:
        return
    now = answers.tag_of(endpoint.state(replace(call, body=None), **params))
    if not request.if_match.contains(now):
        raise Problem(
            "This was changed since you read it.",
            code="changed-meanwhile",
            where="If-Match",
            expected=f'"{now}"',
            got=request.headers["If-Match"][:80],
            next_step="Read it again and decide with its current values.",
        )


def _no_such_path() -> NotFound:
    return NotFound(
        "Nothing exists at this address.",
        where=request.path[:200],
        next_step=f"{API}/openapi.json lists every address.",
    )
