# SPDX-License-Identifier: Apache-2.0
"""When a page cannot be given: which status, which words, and what to do next.

Never a stack trace, never the text of an exception that was not written for people.
"""

from __future__ import annotations

from typing import cast

import structlog
from flask import Flask, Response, g, make_response, render_template, request
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from werkzeug.exceptions import HTTPException, InternalServerError

from webapp import hx
from webapp.errors import Problem
from webapp.extensions import db
from webapp.web.access import is_script_path

log = structlog.get_logger(__name__)

# What a Problem's code means as a status; any other one is about what was sent.
STATUS = {
    "not-found": 404,
    "conflict": 409,
    "setup-code-invalid": 403,
    "too-many-attempts": 429,
    "sign-in-refused": 422,
    "database": 503,
    "database-revision": 503,
    "store-full": 507,
}
RETRY_AFTER_S = 60

# status -> (what happened, why, what to do next)
WORDS = {
    400: (
        "This request makes no sense",
        "Something in the address or the form cannot be read.",
        "Go back and try again; reload the page first if it was open for long.",
    ),
    403: (
        "This is not for your role",
        "Your account may not see or do this.",
        "Ask an administrator to do it, or to change your role.",
    ),
    404: (
        "There is no such page",
        "The address is wrong, or what it showed has been removed.",
        "Start again from the first page.",
    ),
    405: (
        "This cannot be done here",
        "The page exists, but not for this kind of request.",
        "Go to the page and use its buttons.",
    ),
    409: (
        "This cannot be done now",
        "Something has changed meanwhile.",
        "Reload the page and look again.",
    ),
    413: (
        "This is too large",
        "What was sent is larger than this form takes.",
        "Send a smaller file; a keyring has a few kilobytes.",
    ),
    422: (
        "Something in the form cannot be used",
        "A value is missing or not of the kind that is expected.",
        "Go back, correct it and send it again.",
    ),
    429: (
        "Too many attempts",
        "This address has tried too often.",
        "Wait a minute, then try again.",
    ),
    500: (
        "Something went wrong in Slipway",
        "This is a fault of ours, not yours. Nothing was left half done.",
        "Try again. If it stays, look for this request's number in the log.",
    ),
    503: (
        "The database does not answer",
        "It is busy, full or not reachable. Machines still get their images.",
        "Try again in a moment. If it stays, look at the log and at the free space.",
    ),
}
FOREIGN = (
    "This did not come from one of our pages",
    "Another site asked for it, or a proxy changed the Origin or Host header. Nothing was changed.",
    "Open Slipway itself and try there. Behind a proxy, let it pass the Host header on "
    "or set SLIPWAY_PUBLIC_URL.",
)
RACE = (
    "Somebody else changed the same thing just now",
    "Your change came second, and nothing of it was saved.",
    "Go back, reload the page and look again.",
)
STALE_FORM = (
    "This form is too old",
    "It was opened before you signed in, or the browser keeps no cookie for this address. "
    "Nothing was changed.",
    "Reload the page and send it again. Where SLIPWAY_PUBLIC_URL is https, come by that address.",
)


def register(app: Flask) -> None:
    """Answer every error in the one look."""
    app.register_error_handler(Problem, _on_problem)
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(OperationalError, _on_database)
    for met in (IntegrityError, ObjectDeletedError, StaleDataError):
        app.register_error_handler(met, _on_race)
    app.register_error_handler(HTTPException, _on_http)


def status_of(problem: Problem) -> int:
    """The HTTP status that a Problem is answered with."""
    return STATUS.get(problem.code, 422)


def _on_problem(problem: Problem) -> Response:
    db.session.rollback()
    status = status_of(problem)
    if is_script_path(request.path):
        return _for_scripts(str(problem), status)
    response = _answer(status, problem.what, "", problem.next_step, problem=problem)
    if status == 429:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _on_csrf(_error: CSRFError) -> Response:
    return _answer(400, *STALE_FORM)


def _on_database(error: OperationalError) -> Response:
    log.error("the database failed", error=str(error.orig))
    db.session.rollback()
    if is_script_path(request.path):
        return _for_scripts("The database does not answer.", 503)
    return _answer(503, *WORDS[503])


def _on_race(error: Exception) -> Response:
    """Two changes at the same moment; what the database refused is the later one."""
    log.warning("a change met another one", error=type(error).__name__)
    db.session.rollback()
    return _answer(409, *RACE)


def _on_http(error: HTTPException) -> Response:
    status = error.code or 500
    if isinstance(error, InternalServerError):
        db.session.rollback()
    if status < 400:  # a redirect that routing itself raised
        return cast(Response, error.get_response())
    words = FOREIGN if error.description == "foreign-origin" else _words(status)
    if is_script_path(request.path):
        return _for_scripts(words[0], status)
    response = _answer(status, *words)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After", "Content-Range"):
            response.headers[name] = value
    return response


def _words(status: int) -> tuple[str, str, str]:
    return WORDS.get(status) or WORDS[500 if status >= 500 else 400]


def _answer(
    status: int,
    title: str,
    cause: str,
    next_step: str,
    *,
    problem: Problem | None = None,
) -> Response:
    values = {
        "title": title,
        "cause": cause,
        "next_step": next_step,
        "problem": problem,
        "request_id": g.get("request_id", ""),
    }
    if hx.is_part():
        # Also a problem with 422: the part it came from has no field to show it at.
        return hx.to_notices(hx.part("errors/_notice.html", status=status, **values))
    # A page that reads the database would fail again where the database failed.
    is_alone = status >= 500 or not current_user.is_authenticated
    template = "errors/alone.html" if is_alone else "errors/error.html"
    return make_response(render_template(template, status=status, **values), status)


def _for_scripts(text: str, status: int) -> Response:
    return Response(text + "\n", status, content_type="text/plain; charset=utf-8")
