# SPDX-License-Identifier: Apache-2.0
"""From a table of endpoints to routes; who may, what was sent and what comes back is decided here.

An endpoint is a plain function of a ``Call``. spectree writes the OpenAPI
document from the same table; checking is done here, so that every refusal is a
problem of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import structlog
from flask import Flask, Response, request
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from werkzeug.exceptions import RequestEntityTooLarge

from webapp.api.v1 import answers
from webapp.api.v1.callers import Caller, demand, identify
from webapp.api.v1.schemas import LARGEST_ID, Empty, is_storable
from webapp.errors import Conflict, NotFound, Problem
from webapp.extensions import db
from webapp.http.bodies import Incoming, drain
from webapp.services.accounts.tokens import Scope

API = "/api/v1"
MAX_BODY = 2 << 20
_PARAM = re.compile(r"<(?:(\w+):)?(\w+)>")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Call:
    """What an endpoint gets: who asks, and what was sent, checked."""

    caller: Caller
    query: Any = None
    body: Any = None
    incoming: Incoming | None = None

    @property
    def actor(self) -> str:
        """Who asks, for events."""
        return self.caller.name

    @property
    def stream(self) -> Incoming:
        """The body as it comes; only for endpoints that say ``takes_bytes``."""
        if self.incoming is None:
            raise LookupError("an endpoint without takes_bytes asked for the stream")
        return self.incoming


@dataclass(frozen=True)
class Endpoint:
    """One method of one path below ``/api/v1``; the docstring of ``run`` is its description.

    path: as Flask routes it, e.g. ``/sources/<int:id>``. answer: the shape of the
    answer, None for 204. state: gives what If-Match is compared with before a write.
    """

    method: str
    path: str
    run: Callable[..., BaseModel | Response | None]
    scope: Scope
    tag: str
    query: type[BaseModel] = Empty
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    state: Callable[..., BaseModel] | None = None
    takes_bytes: bool = False

    @property
    def name(self) -> str:
        """The operation's id."""
        return f"{self.tag}_{self.run.__name__}"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the paths of this endpoint, whatever their values."""
        return re.compile(API + _PARAM.sub("[^/]+", self.path))


def view_of(endpoint: Endpoint) -> Callable[..., Response]:
    """The view of an endpoint, with its docstring, for Flask and for the document."""

    def view(**params: int | str) -> Response:
        return _answer(endpoint, params)

    view.__name__ = endpoint.name
    view.__doc__ = endpoint.run.__doc__
    return view


def add_unknown(app: Flask, endpoints: tuple[Endpoint, ...], methods: tuple[str, ...]) -> None:
    """One answer for every other path and method."""

    def unknown(rest: str = "") -> Response:
        drain(request)
        known = {e.method for e in endpoints if e.pattern.fullmatch(request.path)}
        if not known or request.method in known:
            return answers.problem(_no_such_path())
        allowed = sorted(known | ({"HEAD"} if "GET" in known else set()))
        response = answers.problem(
            Problem(
                "This address does not take that method.",
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
            methods=methods,
            provide_automatic_options=False,
        )


def _answer(endpoint: Endpoint, params: dict[str, int | str]) -> Response:
    try:
        caller = identify(request)
        demand(caller, endpoint.scope)
        _check_params(params)
        incoming = Incoming(request) if endpoint.takes_bytes else None
        call = Call(caller, _query(endpoint), _body(endpoint), incoming)
        _check_match(endpoint, call, params)
        return _told(endpoint, endpoint.run(call, **params))
    except ValidationError as error:
        return _refused(answers.invalid(error))
    except (IntegrityError, StaleDataError, ObjectDeletedError) as error:
        # Two calls at the same moment; what the database refused is the later one.
        log.warning("a change met another one", error=type(error).__name__)
        return _refused(Conflict("Somebody else changed the same thing just now. Try again."))
    except Problem as problem:
        return _refused(problem)
    finally:
        db.session.rollback()  # services have committed what is to stay


def _refused(problem: Problem) -> Response:
    drain(request)
    return answers.problem(problem)


def _told(endpoint: Endpoint, result: BaseModel | Response | None) -> Response:
    if result is None:
        return answers.nothing()
    if isinstance(result, Response):
        return result
    response = answers.as_json(result, endpoint.status)
    if endpoint.method == "GET" and answers.is_known(request, response):
        unchanged = Response(status=304)
        unchanged.headers["ETag"] = response.headers["ETag"]
        return unchanged
    return response


def _check_params(params: dict[str, int | str]) -> None:
    for value in params.values():
        is_good = value <= LARGEST_ID if isinstance(value, int) else is_storable(value)
        if not is_good:
            raise _no_such_path()


def _query(endpoint: Endpoint) -> BaseModel:
    given = {name: request.args.getlist(name)[-1] for name in request.args}
    return endpoint.query.model_validate(given)


def _body(endpoint: Endpoint) -> BaseModel | None:
    if endpoint.body is None:
        return None
    request.max_content_length = MAX_BODY
    try:
        raw = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise Problem(
            f"The body is larger than {MAX_BODY >> 20} MiB.", code="body-too-large"
        ) from None
    if raw and request.mimetype != answers.JSON:
        raise Problem(
            "The body is of a kind that is not read here.",
            code="body-type",
            where="the Content-Type header",
            expected=answers.JSON,
            got=request.mimetype[:60] or "none",
        )
    return endpoint.body.model_validate_json(raw or b"{}")


def _check_match(endpoint: Endpoint, call: Call, params: dict[str, int | str]) -> None:
    """Refuse a write to something that is not any more what the client read (RFC 9110, 13.1.1)."""
    if endpoint.state is None or "If-Match" not in request.headers:
        return
    now = answers.tag_of(endpoint.state(call, **params))
    if not request.if_match.contains(now):
        raise Problem(
            "Somebody else changed this since you read it.",
            code="changed-meanwhile",
            where="If-Match",
            expected=f'"{now}"',
            got=request.headers["If-Match"][:80],
            next_step="Read it again, and decide with what it says now.",
        )


def _no_such_path() -> NotFound:
    return NotFound(
        "There is nothing at this address.",
        where=request.path[:200],
        next_step=f"{API}/openapi.json lists every address.",
    )
