# SPDX-License-Identifier: Apache-2.0
"""Overview, the first page: each state in words, what needs a person, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update

from tests.support import factories, scenery
from tests.support.databases import Queries
from tests.web.test_hostile_and_full_pages import fill
from tests.web.visitors import Visitor, text_of
from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import BootSource, DayTraffic, Event, ImportRun, Role, utcnow
from webapp.services.overview import health
from webapp.services.system import live_settings
from webapp.storage.errors import StoreUnusable

Count = Callable[[], AbstractContextManager[Queries]]
FOLDER = "ubuntu/amd64/ga-24.04/noble/stable"


@pytest.fixture
def well(app: Flask) -> BootSource:
    """A source that was just checked, what it offers stored, an import that went well, a worker."""
    with app.app_context():
        now = utcnow()
        source = factories.boot_source(checked_at=now, refreshed_at=now, index_updated_at=now)
        factories.cache_entry(source)
        factories.selection(source)
        factories.boot_resource({"squashfs": b"root"}, source_id=source.id)
        factories.import_run(summary="1 image stored.", started_at=now)
        health.note_worker()
        db.session.remove()
    return source


def saved(app: Flask, *rows: Any) -> None:
    with app.app_context():
        db.session.add_all(rows)
        db.session.commit()
        db.session.remove()


def fetch(machine: str = "192.0.2.7", **values: Any) -> Event:
    parts = [{"file": "squashfs", "bytes": 300_000_000, "took_s": 1.0, "end_s": 1.0, "missing": 0}]
    detail = {"status": 200, "requests": 1, "bytes": 300_000_000, "files": ["squashfs"]}
    known = {"at": utcnow(), "detail": {**detail, "parts": parts, "version": "20260105"}}
    return Event(kind="image.fetched", actor=machine, subject=FOLDER, **{**known, **values})


# -- the sentence


@pytest.mark.usefixtures("well")
def test_one_sentence_says_that_all_is_well_since_when_and_what_is_next(viewer: Visitor) -> None:
    page = viewer.get("/")
    words = text_of(page)
    assert re.search(
        r"Overview Everything is up to date ; checked just now ; next check in \d+ minutes ; "
        r"[\d.]+ [GT]B free.",
        words,
    ), words
    assert "Needs attention" not in words
    assert 'data-announce="Everything is up to date"' in page.text
    assert 'aria-current="page">Overview' in page.text


@pytest.mark.usefixtures("well")
def test_without_automatic_imports_no_check_is_planned(app: Flask, viewer: Visitor) -> None:
    with app.app_context():
        live_settings.set_auto_import(False, "ada")
    assert "; no check is planned;" in text_of(viewer.get("/")).replace(" ;", ";")


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"state": "queued"}, "An import is queued ;"),
        ({"state": "running"}, "An import is running ;"),
        (
            {"state": "running", "bytes_total": 300, "bytes_done": 100},
            "An import is running: 33 % ;",
        ),
        ({"state": "running", "hold": "user"}, "The import is paused ;"),
    ],
)
def test_the_sentence_says_that_an_import_runs(
    app: Flask, viewer: Visitor, run: dict[str, Any], words: str
) -> None:
    with app.app_context():
        factories.import_run(finished_at=None, **run)
    page = viewer.get("/")
    assert words in text_of(page)
    assert 'hx-trigger="every 3s, import-changed from:body"' in page.text
    assert "View import" in page.text


@pytest.mark.usefixtures("well")
def test_a_running_import_shows_how_far_it_is_and_is_announced_by_quarters(
    app: Flask, viewer: Visitor
) -> None:
    with app.app_context():
        scenery.running_import()
    page = viewer.get("/")
    assert "Downloading 384 MB of 1.1 GB (34 %)" in text_of(page)
    assert "84.2 MB/s, 8 s left" in text_of(page)
    assert 'data-announce="An import is running: 25 percent"' in page.text


# -- what needs a person


@pytest.mark.usefixtures("well")
def test_what_needs_a_person_is_what_doctor_says_with_its_next_step_and_page(
    app: Flask, viewer: Visitor
) -> None:
    with app.app_context():
        source = factories.boot_source(
            checked_at=utcnow(), error_code="http-html", error_what="A web page answers.",
            error_next_step="Sign this machine in.",
        )  # fmt: skip
        run = factories.import_run(state="partial", summary="1 image failed.")
        factories.rack(seen_at=utcnow() - timedelta(minutes=5))
        source_id, run_id = source.id, run.id
        found = [check for check in health.run_checks() if check.severity.rank < 2]
        needs = health.needs_attention()
        db.session.remove()
    assert needs == found
    page = viewer.get("/")
    words = text_of(page)
    assert "3 things need attention" in words
    for check in found:
        assert check.found[1:] in words
        assert check.next_step.replace("`", " ").split()[0] in words
    assert "Sign this machine in." in words
    assert f'href="/sources/{source_id}"' in page.text
    assert f'href="/imports/{run_id}"' in page.text
    assert 'href="/racks/"' in page.text


@pytest.mark.usefixtures("well")
def test_a_store_that_is_gone_is_told_and_the_page_stays(
    viewer: Visitor, monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    def gone() -> None:
        raise StoreUnusable("The store's folder is gone.", where="/data", next_step="Mount it.")

    with app.app_context():
        monkeypatch.setattr(type(store()), "free_bytes", lambda self: gone())
        monkeypatch.setattr(type(store()), "partials", lambda self: gone())
    words = text_of(viewer.get("/"))
    assert "Free space: The store's folder is gone. (/data)" in words
    assert "Mount it." in words
    assert " free." not in words.partition("Needs attention")[0]
    assert issubclass(StoreUnusable, Problem)


def test_looking_writes_nothing_to_the_store(
    viewer: Visitor, monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    def written() -> None:
        raise AssertionError("the store was written to")

    with app.app_context():
        monkeypatch.setattr(type(store()), "check", lambda self: written())
    assert viewer.get("/").status_code == 200


# -- the first run


def test_without_a_source_the_next_step_is_to_add_one(
    administrator: Visitor, operator: Visitor
) -> None:
    page = administrator.get("/")
    words = text_of(page)
    assert "1. Add a boot source Next" in words
    assert "2. Select images Later" in words
    assert 'href="/sources/new"' in page.text
    assert "Nothing is stored yet." in words
    assert "Machines fetched nothing in the last 7 days." in words
    assert "No import has run yet." in words
    assert "none configured" not in words  # the steps say so
    assert 'id="next-step"' not in operator.get("/").text


def test_with_a_source_images_are_selected_next_and_then_imported(
    app: Flask, operator: Visitor, viewer: Visitor
) -> None:
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow())
        source_id = source.id
    page = operator.get("/")
    assert "1. Add a boot source Done" in text_of(page)
    assert "2. Select images Next" in text_of(page)
    assert re.search(r'id="next-step" href="/images/"', page.text)
    assert 'id="next-step"' not in viewer.get("/").text
    with app.app_context():
        factories.selection(db.session.get(BootSource, source_id))
    page = operator.get("/")
    assert "3. Import them Next" in text_of(page)
    assert re.search(r'id="next-step" href="/imports/plan"', page.text)
    with app.app_context():
        factories.import_run(state="running", finished_at=None)
    assert "3. Import them Running" in text_of(operator.get("/"))


# -- machines and traffic


@pytest.mark.usefixtures("well")
def test_machines_that_fetch_are_shown_and_the_last_one_otherwise(
    app: Flask, viewer: Visitor
) -> None:
    assert "No machine has fetched anything yet." in text_of(viewer.get("/"))
    saved(app, fetch("192.0.2.8", at=utcnow() - timedelta(hours=3)))
    words = text_of(viewer.get("/"))
    assert "No machine is fetching. Last: 192.0.2.8 , 2 hours ago" in words
    saved(app, fetch(), fetch("192.0.2.9"))
    page = viewer.get("/")
    words = text_of(page)
    row = "192.0.2.7 ubuntu/noble amd64 squashfs 300 MB"
    assert row in words
    assert words.index("192.0.2.9 ubuntu") < words.index(row)
    assert 'href="/events/?machine=192.0.2.7"' in page.text
    assert 'hx-trigger="every 3s, import-changed from:body"' in page.text


@pytest.mark.usefixtures("well")
def test_machines_that_a_rack_serves_are_shown_with_the_rack(app: Flask, viewer: Visitor) -> None:
    serving = [{"machine": "10.0.0.9", "name": f"{FOLDER}/squashfs", "sent": 5000, "size": 9000}]
    with app.app_context():
        factories.rack(name="rack-north", seen_at=utcnow(), serving=serving)
    assert "10.0.0.9 rack-north ubuntu/noble amd64 squashfs 5.0 kB of 9.0 kB" in text_of(
        viewer.get("/")
    )


def test_more_machines_than_fit_are_counted(app: Flask, viewer: Visitor) -> None:
    saved(app, *(fetch(f"192.0.2.{number}") for number in range(1, 12)))
    assert "And 3 more." in text_of(viewer.get("/"))


@pytest.mark.usefixtures("well")
def test_the_week_is_a_picture_and_a_table(app: Flask, viewer: Visitor) -> None:
    today = utcnow().date()
    saved(
        app,
        DayTraffic(day=today, size=4_000_000_000),
        DayTraffic(day=today - timedelta(days=2), size=1),
        DayTraffic(day=today - timedelta(days=7), size=9_000_000_000),
    )
    page = viewer.get("/")
    words = text_of(page)
    assert "4.0 GB in 7 days, the most on" in words
    assert "9.0 GB" not in words
    assert page.text.partition('class="days"')[2].count('class="bar-part"') == 2
    assert f"Today, {today.day} {today:%B} 4.0 GB" in words
    assert "1 image" in words
    assert "4 bytes : current versions What takes the room Numbers" in words


# -- live, roles, and costs


@pytest.mark.usefixtures("well")
def test_a_poll_is_answered_with_nothing_while_nothing_changes(
    app: Flask, viewer: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ago = utcnow() - timedelta(days=40)  # told as a date
    with app.app_context():
        monkeypatch.setattr(type(store()), "free_bytes", lambda self: 41 << 30)
        live_settings.set_auto_import(False, "ada")
        db.session.execute(update(BootSource).values(checked_at=ago))
        db.session.execute(update(ImportRun).values(finished_at=ago))
        db.session.execute(update(Event).values(at=ago))
        db.session.commit()

    def asks(page: str) -> str:
        return re.findall(r'id="now" data-announce="[^"]*" data-poll hx-get="([^"]+)"', page)[0]

    url = asks(viewer.get("/").text)
    part = viewer.get("/", HX_Request="true")
    assert "<html" not in part.text
    assert 'id="week"' not in part.text
    assert asks(part.text) == url
    assert viewer.get(url, HX_Request="true", Slipway_Poll="1").status_code == 204
    with app.app_context():
        factories.import_run(state="queued", finished_at=None)
    part = viewer.get(url, HX_Request="true", Slipway_Poll="1")
    assert (part.status_code, "An import is queued" in part.text) == (200, True)
    assert "<html" in viewer.get(url).text


def test_store_and_week_are_a_part_of_their_own(viewer: Visitor) -> None:
    part = viewer.get("/overview/week", HX_Request="true")
    assert part.text.strip().startswith('<div id="week"')
    assert viewer.get("/overview/week").headers["Location"] == "/"


def test_events_are_those_of_the_role(app: Flask, visit: Callable[..., Visitor]) -> None:
    saved(
        app,
        Event(kind="image.pinned", actor="ada", subject="ubuntu/noble amd64/ga-24.04"),
        Event(kind="user.signed_in", actor="eve", subject="192.0.2.200"),
    )
    assert "User signed in eve" in text_of(visit(Role.ADMINISTRATOR).get("/"))
    words = text_of(visit(Role.VIEWER).get("/"))
    assert "Image pinned" in words
    assert " ada " not in words
    assert " eve " not in words


def test_the_page_takes_the_same_queries_whatever_is_stored(
    app: Flask, viewer: Visitor, well: BootSource, count_queries: Count
) -> None:
    saved(app, fetch())
    with app.app_context():
        factories.rack(seen_at=utcnow())
        source_id = db.session.query(BootSource.id).scalar()
    viewer.get("/")  # what is read once a process
    with count_queries() as few:
        assert viewer.get("/").status_code == 200
    fill(app, source_id, products=500, stored=500)
    with app.app_context():
        for _ in range(4):
            factories.rack(seen_at=utcnow())
            factories.boot_source(checked_at=utcnow())
        db.session.execute(
            text(
                "INSERT INTO event (at, kind, actor, subject, detail) WITH RECURSIVE n(i) AS "
                "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
                "SELECT e.at, e.kind, e.actor, e.subject, '{}' FROM n JOIN event e ON "
                "e.id = (SELECT max(id) FROM event)"
            )
        )
        db.session.commit()
        db.session.remove()
    with count_queries() as many:
        page = viewer.get("/")
    assert "501 images" in text_of(page)
    assert len(many) == len(few), many
    assert len(many) <= 45, many
