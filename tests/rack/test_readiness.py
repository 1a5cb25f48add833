# SPDX-License-Identifier: Apache-2.0
"""Whether a plane is alive and ready, as load balancers ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import Client, TestResponse

from tests.rack import images
from webapp.errors import Problem
from webapp.extensions import db, settings
from webapp.readiness import Readiness


@pytest.fixture(params=["rack", "web"])
def plane(make_app: Callable[[str], Flask], request: pytest.FixtureRequest) -> Iterator[Flask]:
    app = make_app(request.param)
    with app.app_context():
        images.image()
        yield app
    app.extensions["slipway.rack"].close()


def ask(app: Flask, path: str, method: str = "GET") -> TestResponse:
    return app.test_client().open(path, method=method, headers={"Host": "10.0.0.7:5240"})


def test_both_answer_without_login_or_detail(plane: Flask) -> None:
    for path, words in (("/healthz", b"Alive.\n"), ("/readyz", b"Ready.\n")):
        answer = ask(plane, path)
        assert (answer.status_code, answer.data) == (200, words)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
        assert ask(plane, path, "HEAD").data == b""
        refused = ask(plane, path, "POST")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert ask(plane, "/readyz/").status_code in (404, 302)  # the sign-in of the pages


def test_without_its_store_nothing_is_ready(plane: Flask) -> None:
    folder = settings().store_dir
    folder.rename(folder.with_name("away"))
    answer = ask(plane, "/readyz")
    assert (answer.status_code, answer.data) == (503, b"Not ready.\n")
    assert answer.headers["Retry-After"] == "5"
    assert ask(plane, "/healthz").status_code == 200


def test_only_pages_need_a_database_of_our_schema(plane: Flask) -> None:
    assert plane.extensions["slipway.rack"].published.names()
    db.session.execute(text("UPDATE alembic_version SET version_num = 'of another'"))
    db.session.commit()
    assert ask(plane, "/readyz").status_code == (503 if plane.blueprints else 200)


def test_an_answer_counts_for_a_second_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("webapp.readiness.time.monotonic", lambda: now[0])
    asked, problems = [], [Problem("gone", code="store-missing"), None]

    def check() -> None:
        asked.append(now[0])
        problem = problems[min(len(asked), len(problems)) - 1]
        if problem is not None:
            raise problem

    client = Client(Readiness(lambda *_: [], check))
    answers: list[int] = []
    many = [
        threading.Thread(target=lambda: answers.append(client.get("/readyz").status_code))
        for _ in range(20)
    ]
    for one in many:
        one.start()
    for one in many:
        one.join()
    assert (answers, asked) == ([503] * 20, [100.0])
    now[0] += 1.0
    assert client.get("/readyz").status_code == 200
    assert asked == [100.0, 101.0]
