# SPDX-License-Identifier: Apache-2.0
"""Error pages: which status, which words, and what to do next.

Never a stack trace, never the text of an exception that was not written for users.
"""

from __future__ import annotations

from typing import cast

import structlog
from flask import Flask, Response, g, make_response, render_template, request
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from webapp import hx
from webapp.errors import Problem
from webapp.extensions import db
from webapp.http.dispatch import DATABASE_ERRORS, add_retry_after, problem_of
from webapp.web.access import is_script_path

log = structlog.get_logger(__name__)

# status -> (what happened, why, what to do next)
WORDS = {
    400: (
        "Bad request",
        "Something in the address or the form isn't valid.",
        "Go back, reload the page and try again.",
    ),
    403: (
        "You don't have permission",
        "Your role doesn't allow this.",
        "Ask an administrator to do it, or to change your role.",
    ),
    404: (
        "Page not found",
        "The address is wrong, or what it showed has been removed.",
        "Go to the home page.",
    ),
    405: (
        "Not allowed here",
        "This page doesn't accept that kind of request.",
        "Open the page and use its buttons.",
    ),
    409: (
        "Not possible right now",
        "Something changed in the meantime.",
        "Reload the page and check again.",
    ),
    413: (
        "Too large",
        "What you sent is larger than this form accepts.",
        "Send a smaller file. A keyring is usually a few kilobytes.",
    ),
    422: (
        "The form has errors",
        "A value is missing or isn't valid.",
        "Go back, correct it and send it again.",
    ),
    429: (
        "Too many attempts",
        "This address has tried too often.",
        "Wait a minute, then try again.",
    ),
    500: (
        "Something went wrong",
        "Something went wrong on our side. No change was left half done.",
        "Try again. If it keeps happening, search the log for this request ID.",
    ),
    503: (
        "Database unavailable",
        "It's busy, full or unreachable. Machines can still boot their images.",
        "Try again in a moment. If it keeps happening, check the log and the free disk space.",
    ),
}
FOREIGN = (
    "This request didn't come from a Slipway page",
    "Another site sent it, or a proxy changed the Origin or Host header. Nothing was changed.",
    "Open Slipway and try there. If it's behind a proxy, make the proxy pass the Host header "
    "or set SLIPWAY_PUBLIC_URL.",
)
STALE_FORM = (
    "This form has expired",
    "You opened it before you signed in, or your browser doesn't accept cookies for this address. "
    "Nothing was changed.",
    "Reload the page and send it again. If SLIPWAY_PUBLIC_URL is https, use that address.",
)


def register(app: Flask) -> None:
    """Answer every error as a page, a notice or plain text."""
    app.register_error_handler(Problem, _on_problem)
    app.register_error_handler(CSRFError, _on_csrf)
    for error in DATABASE_ERRORS:
        app.register_error_handler(error, lambda error: _on_problem(problem_of(error)))
    app.register_error_handler(HTTPException, _on_http)


def _on_problem(problem: Problem) -> Response:
    db.session.rollback()
    status = problem.kind.status
    if is_script_path(request.path):
        return _for_scripts(str(problem), status)
    response = _answer(status, problem.what, "", problem.next_step, problem=problem)
    return add_retry_after(response, problem)


def _on_csrf(_error: CSRFError) -> Response:
    return _answer(400, *STALE_FORM)


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
