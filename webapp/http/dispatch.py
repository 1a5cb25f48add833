# SPDX-License-Identifier: Apache-2.0
"""The steps every API call goes through, whichever dialect it's written in.

A dialect defines how its clients authenticate, how their arguments are read, and
how results and problems are written. What a problem means as a status stands in
``errors.KINDS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import structlog
from flask import Request, Response
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from webapp.errors import Conflict, NotFound, Problem
from webapp.extensions import db
from webapp.http.bodies import drain

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MAX_ID = 2**31 - 1  # the largest id PostgreSQL compares with an integer column
# Two changes at the same moment: what the database refuses is the later one.
LOST_RACES = (IntegrityError, ObjectDeletedError, StaleDataError)
DATABASE_ERRORS = (*LOST_RACES, OperationalError)

Params = Mapping[str, int | str]
Endpoint = TypeVar("Endpoint", contravariant=True)
Caller = TypeVar("Caller")
AnyCall = TypeVar("AnyCall")

log = structlog.get_logger(__name__)


class Dialect(Protocol[Endpoint, Caller, AnyCall]):
    """How one API talks. Every step but the last raises Problem to refuse a call."""

    def authenticate(self, endpoint: Endpoint) -> Caller:
        """Who calls."""
        ...

    def read(self, endpoint: Endpoint, caller: Caller, params: Params) -> AnyCall:
        """What they sent, once it's clear that they may call this."""
        ...

    def run(self, endpoint: Endpoint, call: AnyCall, params: Params) -> Response:
        """Do it, and write the result."""
        ...

    def refuse(self, problem: Problem) -> Response:
        """Write a problem."""
        ...


def answer(
    dialect: Dialect[Endpoint, Caller, AnyCall],
    endpoint: Endpoint,
    request: Request,
    params: Params,
) -> Response:
    """The answer to a call. A refused body is read first (rule: rest-read-the-body)."""
    try:
        caller = dialect.authenticate(endpoint)
        _check_ids(params)
        return dialect.run(endpoint, dialect.read(endpoint, caller, params), params)
    except DATABASE_ERRORS as error:
        refused = problem_of(error)
    except Problem as problem:
        refused = problem
    finally:
        db.session.rollback()  # services have committed what stays
    drain(request)
    return dialect.refuse(refused)


def problem_of(error: SQLAlchemyError) -> Problem:
    """A database error for a client: without statements, values, hosts and files."""
    if isinstance(error, LOST_RACES):
        log.warning("lost a race against another change", error=type(error).__name__)
        return Conflict(
            "Someone else changed this at the same time.",
            code="lost-race",
            next_step="Your change was not saved. Reload, check it and try again.",
        )
    log.error("the database failed", error=str(getattr(error, "orig", error)))
    return Problem(
        "Database unavailable.",
        code="database",
        next_step="Try again in a moment. If it keeps happening, check the log and free space.",
    )


def add_retry_after(response: Response, problem: Problem) -> Response:
    """Tell the client when to try again, where that can help."""
    if problem.kind.retry_after_s:
        response.headers["Retry-After"] = str(problem.kind.retry_after_s)
    return response


def _check_ids(params: Params) -> None:
    if any(isinstance(value, int) and value > MAX_ID for value in params.values()):
        raise NotFound("No such id.", expected=f"at most {MAX_ID}", got="a larger number")
