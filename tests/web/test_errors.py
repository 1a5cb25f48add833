# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError

from tests.web.visitors import Visitor, text_of
from webapp.errors import Conflict, InvalidFields, NotFound, Problem
from webapp.models import Role
from webapp.services.accounts.rights import Right
from webapp.web.access import public, requires

PROBLEM = Problem(
    "The <index> is signed by another key.",
    where="https://mirror.example.test/",
    expected="ABCD",
    got="EF01",
    next_step="Compare the fingerprints.",
)


@pytest.fixture
def raising(app: Flask) -> Callable[[BaseException], None]:
    """Make ``/raises`` raise what a test wants, for anybody and as a release would answer it."""
    app.testing = False
    wanted: list[BaseException] = []

    @app.get("/raises")
    @public
    def raises() -> str:
        raise wanted[-1]

    return wanted.append


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PROBLEM, 422),
        (NotFound("Image not found.", next_step="Look at the list."), 404),
        (Conflict("An import runs.", next_step="Stop it first."), 409),
        (InvalidFields({"url": ["Use http."]}), 422),
        (Problem("The disk is full.", code="store-full", next_step="Make room."), 507),
        (Problem("Too many.", code="too-many-attempts"), 429),
    ],
)
def test_a_problem_is_a_page_with_cause_and_next_step(
    raising: Callable[[BaseException], None], stranger: Visitor, error: Problem, status: int
) -> None:
    raising(error)
    response = stranger.get("/raises")
    assert response.status_code == status
    assert response.content_type == "text/html; charset=utf-8"
    shown = text_of(response)
    for words in (error.what, error.where, error.expected, error.got, error.next_step):
        assert words in shown
    assert "<index>" not in response.text
    assert "<html" in response.text


def test_htmx_gets_a_problem_as_a_notice_at_the_top(
    raising: Callable[[BaseException], None], stranger: Visitor
) -> None:
    raising(PROBLEM)
    response = stranger.get("/raises", HX_Request="true")
    assert response.status_code == 422
    assert response.headers["HX-Retarget"] == "#notices"
    assert "<html" not in response.text
    assert PROBLEM.next_step in text_of(response)


def test_a_fault_of_ours_shows_nothing_of_the_inside(
    app: Flask,
    raising: Callable[[BaseException], None],
    stranger: Visitor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    raising(RuntimeError("a canary from the inside"))
    for headers in ({}, {"HX_Request": "true"}):
        response = stranger.get("/raises", **headers)
        assert response.status_code == 500
        for inside in ("canary", "Traceback", "RuntimeError", "webapp", ".py"):
            assert inside not in response.text
        assert "Something went wrong on our side" in text_of(response)
    assert response.headers["X-Request-ID"] in caplog.text
    assert "a canary from the inside" in caplog.text  # the log is where it belongs


def test_a_page_about_a_fault_names_the_request(
    raising: Callable[[BaseException], None], stranger: Visitor
) -> None:
    raising(RuntimeError("inside"))
    response = stranger.get("/raises")
    assert response.headers["X-Request-ID"] in response.text


def test_a_failing_database_is_reported_without_asking_it_again(
    app: Flask,
    administrator: Visitor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from webapp.services.accounts import sessions

    def fails(*_args: object, **_values: object) -> None:
        raise OperationalError("SELECT canary", {}, Exception("disk I/O error"))

    app.testing = False
    monkeypatch.setattr(sessions, "find", fails)
    response = administrator.get("/account")
    assert response.status_code == 503
    assert "Database unavailable" in text_of(response)
    assert "canary" not in response.text
    assert "disk I/O error" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT canary", {}, Exception("UNIQUE constraint failed")),
        StaleDataError("canary"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_change_that_came_second_is_no_fault(
    administrator: Visitor, raising: Callable[[BaseException], None], error: Exception
) -> None:
    raising(error)
    response = administrator.get("/raises")
    assert response.status_code == 409
    assert "Someone else changed this at the same time" in text_of(response)
    assert "canary" not in response.text


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 415, 418, 422, 429, 501, 503])
def test_every_status_has_words_and_a_next_step(
    app: Flask, raising: Callable[[BaseException], None], stranger: Visitor, status: int
) -> None:
    from werkzeug.exceptions import HTTPException

    class Refused(HTTPException):
        code = status

    raising(Refused())
    response = stranger.get("/raises")
    assert response.status_code == status
    shown = text_of(response)
    assert f"Error {status}" in shown
    assert "Next:" in shown
    assert response.content_type == "text/html; charset=utf-8"


def test_scripts_get_one_line_of_text(administrator: Visitor) -> None:
    response = administrator.get("/MAAS/nowhere")
    assert (response.status_code, response.content_type) == (404, "text/plain; charset=utf-8")
    assert len(response.text.splitlines()) == 1


def test_errors_keep_the_top_bar_of_who_is_signed_in(
    administrator: Visitor, stranger: Visitor
) -> None:
    assert "Sign out" in administrator.get("/nowhere").text
    assert "Sign out" not in stranger.get("/nowhere").text


def test_a_form_that_is_too_large_is_refused_unread(
    app: Flask, visit: Callable[..., Visitor]
) -> None:
    @app.post("/upload")
    @requires(Right.SEE, form_bytes=2 << 20)
    def upload() -> str:
        from flask import request

        return str(len(request.form["keyring"]))

    visitor = visit(Role.VIEWER)
    assert visitor.post("/upload", {"keyring": "x" * (3 << 19)}).text == str(3 << 19)
    assert visitor.post("/upload", {"keyring": "x" * (2 << 20)}).status_code == 413
    response = visitor.post("/account/keys", {"name": "x" * (1 << 20)})
    assert response.status_code == 413
    assert "Too large" in text_of(response)


def test_the_log_keeps_one_line_whatever_a_path_holds(
    administrator: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    administrator.get("/nowhere%0d%0a2026-01-01%20forged%20line%1b[31m")
    assert [r for r in caplog.messages if "forged" in r]
    assert not [r for r in caplog.messages if re_control(r)]


def re_control(text: str) -> bool:
    return any(not character.isprintable() for character in text)
