# SPDX-License-Identifier: Apache-2.0
"""The page Events: its filters, a machine's boots, older pages, exports, and what roles see."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from tests.support.databases import Queries
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import Event, utcnow

Count = Callable[[], AbstractContextManager[Queries]]
PAGE = "/events/"
IMAGE = "ubuntu/amd64/ga-24.04/noble/stable"
MACHINE = "192.0.2.7"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def fetch(machine: str = MACHINE, subject: str = IMAGE, **values: Any) -> Event:
    parts = [
        {"file": "boot-kernel", "bytes": 15_000_000, "took_s": 0.5, "end_s": 0.0, "missing": 0},
        {"file": "squashfs", "bytes": 300_000_000, "took_s": 60.0, "end_s": 61.0, "missing": 0},
    ]
    detail = {"status": 200, "requests": 2, "version": "20260105", "bytes": 315_000_000}
    detail |= {"files": ["boot-kernel", "squashfs"], "parts": parts}
    values = {"kind": "image.fetched", "at": utcnow(), "detail": detail, **values}
    return Event(actor=machine, subject=subject, **values)


@pytest.fixture
def log(app: Flask) -> Callable[..., None]:
    """Add events in this order."""

    def add(*rows: Event) -> None:
        with app.app_context():
            db.session.add_all(rows)
            db.session.commit()
            db.session.remove()

    return add


def table(visitor: Visitor, query: str = "") -> str:
    """The words of the table of events."""
    page = visitor.get(f"{PAGE}{query}")
    assert page.status_code == 200
    return text_of(page).partition("When What Who About Details")[2].partition("Events are kept")[0]


def test_without_events_the_page_says_so(viewer: Visitor) -> None:
    assert "No events yet" in text_of(viewer.get(PAGE))


def test_events_are_found_by_machine_image_user_kind_and_time(
    log: Callable[..., None], operator: Visitor
) -> None:
    log(
        fetch("192.0.2.1", at=AT),
        fetch("192.0.2.2", "centos/amd64/generic/9/stable", at=AT + timedelta(hours=1)),
        Event(kind="image.pinned", actor="ada", subject="ubuntu/noble amd64/ga-24.04", at=AT),
        Event(kind="run.queued", actor="ada", subject="3", at=AT + timedelta(days=1)),
    )
    assert "192.0.2.1" not in table(operator, "?machine=192.0.2.2")
    assert "Run queued" not in table(operator, "?machine=ada") + table(operator, "?user=192.0.2.1")
    by_user = table(operator, "?user=ada")
    assert "Run queued" in by_user
    assert "Image pinned" in by_user
    assert "192.0.2" not in by_user
    for name in ("ubuntu/noble", "ubuntu/noble/amd64", "ubuntu/amd64"):
        assert "centos" not in table(operator, f"?image={name}")
        assert "192.0.2.1" in table(operator, f"?image={name}")
    assert "Image pinned" in table(operator, "?image=ubuntu/noble/amd64")
    assert "192.0.2.1" not in table(operator, "?image=ubuntu/noble/arm64")
    assert "Image pinned" not in table(operator, "?kind=image.fetched")
    assert "Run queued" not in table(operator, "?kind=image.")
    some = table(operator, "?since=2026-11-20T12:30&until=2026-11-20T14:00")
    assert "192.0.2.2" in some
    assert "192.0.2.1" not in some
    assert "Run queued" not in some
    assert "No events match" in text_of(operator.get(f"{PAGE}?machine=nobody"))


def test_a_time_that_is_none_is_refused_in_place(
    log: Callable[..., None], operator: Visitor
) -> None:
    log(fetch())
    page = operator.get(f"{PAGE}?since=yesterday")
    assert 'id="since-problem"' in page.text
    assert "Enter a date and time, e.g. 2026-01-31T14:30." in text_of(page)
    assert "No events match" in text_of(page)
    assert operator.get(f"{PAGE}export.csv?since=yesterday").status_code == 303


def test_a_machine_has_its_boots_with_sizes_and_speeds(
    log: Callable[..., None], viewer: Visitor
) -> None:
    log(fetch(at=AT))
    page = viewer.get(f"{PAGE}?machine={MACHINE}")
    words = text_of(page)
    assert "Boot at 20 November 2026, 11:59:59 UTC" in words
    assert "2 files, 315 MB in 1 min 2 s" in words
    assert "5.0 MB/s" in words
    assert page.text.count('class="bar-part"') == 2
    assert "Stopped" not in words
    assert "Boot at" not in text_of(viewer.get(PAGE))


def test_a_fetch_that_stopped_stands_out(log: Callable[..., None], viewer: Visitor) -> None:
    event = fetch()
    event.detail["parts"][1]["missing"] = 200_000_000
    log(event)
    assert "Stopped early" in table(viewer)
    page = viewer.get(f"{PAGE}?machine={MACHINE}")
    assert "Stopped with 200 MB left" in text_of(page)
    assert ", 1 stopped early" in text_of(page)
    assert "bar-part is-stalled" in page.text


def test_older_events_are_a_page_away_with_the_same_filter(
    log: Callable[..., None], viewer: Visitor
) -> None:
    log(*(fetch(subject=f"image-{number:03}") for number in range(60)), fetch("192.0.2.9"))
    page = viewer.get(f"{PAGE}?machine={MACHINE}")
    older = page.text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert f"machine={MACHINE}" in older
    words = text_of(viewer.get(older))
    assert "image-009" in words
    assert "image-010" not in words.partition("When What Who")[2]
    assert "Newest" in words
    assert "Older" not in words


def test_roles_see_their_events_and_viewers_no_users(
    log: Callable[..., None], administrator: Visitor, operator: Visitor, viewer: Visitor
) -> None:
    log(
        Event(kind="user.signed_in", actor="ada", subject="192.0.2.1"),
        Event(kind="run.queued", actor="ada", subject="1"),
        Event(kind="image.pinned", actor="ada", subject="ubuntu/noble amd64/ga-24.04"),
    )
    assert "User signed in" in table(administrator)
    assert "User signed in" not in table(operator)
    assert "Run queued" in table(operator)
    shown = table(viewer)
    assert "Image pinned" in shown
    assert "Run queued" not in shown
    assert "ada" not in shown
    assert 'name="user"' not in viewer.get(PAGE).text
    assert "No events match" in text_of(viewer.get(f"{PAGE}?user=ada"))
    for kind in ("csv", "json"):
        exported = viewer.get(f"{PAGE}export.{kind}").text
        assert "image.pinned" in exported
        assert "ada" not in exported
        assert "run.queued" not in exported
    assert "No events match" in text_of(operator.get(f"{PAGE}?kind=user."))
    assert 'value="user."' not in operator.get(f"{PAGE}").text


def test_an_export_is_what_the_filter_finds(log: Callable[..., None], operator: Visitor) -> None:
    log(fetch(at=AT), fetch("192.0.2.8"))
    answer = operator.get(f"{PAGE}export.csv?machine={MACHINE}")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="events.csv"'
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["at"], row["kind"], row["actor"]) == (
        "2026-11-20T12:00:00Z",
        "image.fetched",
        MACHINE,
    )
    found = operator.get(f"{PAGE}export.json?machine={MACHINE}").json
    assert found
    assert found["next_before"] is None
    assert [one["detail"]["bytes"] for one in found["events"]] == [315_000_000]


@pytest.mark.parametrize(
    "words", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", '=HYPERLINK("x")']
)
def test_no_cell_of_an_export_is_a_formula(
    words: str, log: Callable[..., None], operator: Visitor
) -> None:
    log(Event(kind="image.pinned", actor=words, subject=words))
    text = operator.get(f"{PAGE}export.csv").text
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert row["actor"] == row["subject"] == f"'{words}"


def test_what_a_machine_calls_an_image_is_text(log: Callable[..., None], viewer: Visitor) -> None:
    log(fetch(subject="<img src=x onerror=alert(1)>"))
    page = viewer.get(f"{PAGE}?machine={MACHINE}")
    assert "<img" not in page.text


def test_a_full_log_takes_the_queries_of_a_small_one(
    app: Flask, log: Callable[..., None], administrator: Visitor, count_queries: Count
) -> None:
    log(fetch())
    queries = ["", f"?machine={MACHINE}", "?user=ada&kind=user.", "?image=ubuntu/noble"]

    def ask() -> int:
        with count_queries() as found:
            for query in queries:
                assert administrator.get(f"{PAGE}{query}").status_code == 200
        assert not [one for one in found if "count(" in str(one).lower()], found
        return len(found)

    ask()
    few = ask()
    with app.app_context():
        db.session.execute(
            text(
                "INSERT INTO event (at, kind, actor, subject, detail) WITH RECURSIVE n(i) AS "
                "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
                "SELECT e.at, e.kind, e.actor, e.subject, '{}' FROM n JOIN event e ON e.id = 1"
            )
        )
        db.session.commit()
        db.session.remove()
    assert ask() == few


def test_kinds_are_words(log: Callable[..., None], operator: Visitor) -> None:
    log(Event(kind="source.notices-dismissed", at=AT, actor="ada", subject="x", detail={}))
    assert "Source notices dismissed" in table(operator)
