# SPDX-License-Identifier: Apache-2.0
"""What publishers announce, hidden by one caller from themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from tests.support.databases import Queries
from webapp.extensions import db
from webapp.models import Role

NOTICE = {"maas_version": "3.0.0", "message": "New"}


@pytest.fixture
def ids(app: Flask) -> list[int]:
    with app.app_context():
        found = [factories.boot_source(notices=[NOTICE]).id for _ in range(2)]
        db.session.remove()
    return found


def told(program: Typed) -> list[int]:
    rows = program.get("sources")["items"]
    found = sorted(row["id"] for row in rows if row["notices"] == [NOTICE])
    for row in rows:
        assert program.get(f"sources/{row['id']}")["notices"] == row["notices"]
    return found


def test_one_caller_hides_one_source(token_of: Callable[..., Typed], ids: list[int]) -> None:
    viewer, other = token_of(Role.VIEWER), token_of()
    assert told(viewer) == told(other) == ids
    for _ in range(2):
        done = viewer.call("POST", f"sources/{ids[0]}/notices/dismiss")
        assert (done.status_code, done.json["message"]) == (202, "Hidden from you for two weeks.")
    assert (told(viewer), told(other)) == (ids[1:], ids)
    assert viewer.call("POST", "sources/99/notices/dismiss").status_code == 404


def test_more_sources_with_announcements_need_no_more_queries(
    app: Flask,
    program: Typed,
    ids: list[int],
    count_queries: Callable[[], Any],
) -> None:
    def queries() -> int:
        with count_queries() as found:
            program.get("sources")
        counted: Queries = found
        return len(counted)

    program.get("sources")  # the first call also notes that the token is used
    before = queries()
    with app.app_context():
        for _ in range(5):
            factories.boot_source(notices=[NOTICE])
        db.session.remove()
    assert queries() == before
