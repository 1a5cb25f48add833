# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask import Flask

from tests.support import factories
from tests.support.databases import Queries
from tests.web import gallery
from tests.web.visitors import Visitor, text_of
from webapp.models import Role

PILL = "/shell/import-pill"
Count = Callable[[], AbstractContextManager[Queries]]


def theme(visitor: Visitor) -> str:
    found = re.search(r'<html lang="en"(?: data-theme="(\w+)")?>', visitor.get("/account").text)
    assert found
    return found[1] or "auto"


def test_light_or_dark_is_remembered(viewer: Visitor) -> None:
    assert theme(viewer) == "auto"
    for chosen in ("dark", "light", "auto"):
        response = viewer.post("/shell/theme", {"theme": chosen, "next": "/account?x=1"})
        assert (response.status_code, response.headers["Location"]) == (303, "/account?x=1")
        assert theme(viewer) == chosen


def test_the_switch_shows_what_is_chosen(viewer: Visitor) -> None:
    viewer.post("/shell/theme", {"theme": "dark"})
    page = viewer.get("/account").text
    assert re.findall(r'value="(\w+)" aria-pressed="true"', page) == ["dark"]


def test_the_choice_is_kept_for_a_year_and_hidden_from_scripts(stranger: Visitor) -> None:
    cookie = stranger.post("/shell/theme", {"theme": "dark"}).headers["Set-Cookie"]
    assert cookie.startswith("slipway-theme=dark;")
    assert {"HttpOnly", "Max-Age=31536000", "SameSite=Lax"} <= set(cookie.split("; "))


@pytest.mark.parametrize("chosen", ["", "blue", '"><script>', "x" * 1000])
def test_any_other_choice_means_the_systems(viewer: Visitor, chosen: str) -> None:
    assert viewer.post("/shell/theme", {"theme": chosen}).status_code == 303
    assert theme(viewer) == "auto"
    viewer.client.set_cookie("slipway-theme", '"><script>alert(1)</script>')
    assert theme(viewer) == "auto"


@pytest.mark.parametrize("next", ["//evil.example.test", "https://evil.example.test/", "/\\evil"])
def test_the_switch_leads_back_to_our_own_pages_only(stranger: Visitor, next: str) -> None:
    response = stranger.post("/shell/theme", {"theme": "dark", "next": next})
    assert response.headers["Location"] == "/"


@pytest.mark.parametrize(
    ("path", "tab"),
    [
        ("/imports/", "/imports/"),
        ("/imports/timing/", "/imports/"),
        ("/images/bin/", "/images/"),
        ("/sources/offers", "/sources/"),
    ],
)
def test_the_top_bar_marks_where_the_page_belongs(
    administrator: Visitor, path: str, tab: str
) -> None:
    page = administrator.get(path).text
    assert re.findall(r'<a href="([^"]+)" aria-current="page">', page) == [tab]


@pytest.mark.parametrize(
    ("run", "words", "every_s"),
    [
        (None, "", 5),
        ({"state": "succeeded"}, "", 5),
        ({"state": "running", "bytes_total": 300, "bytes_done": 100}, "Import: 33 %", 2),
        ({"state": "running"}, "Import: Running", 2),
        ({"state": "queued"}, "Import: Queued", 2),
        ({"state": "partial"}, "Import: Incomplete", 5),
        ({"state": "failed"}, "Import: Failed", 5),
        ({"state": "stopped"}, "Import: Stopped", 5),
    ],
)
def test_the_pill_says_how_the_import_is(
    app: Flask, viewer: Visitor, run: dict[str, object] | None, words: str, every_s: int
) -> None:
    if run is not None:
        with app.app_context():
            factories.import_run(**{"finished_at": None, **run})
    response = viewer.get(PILL, HX_Request="true")
    assert text_of(response) == words
    assert f'hx-trigger="every {every_s}s"' in response.text
    page = viewer.get("/account").text
    assert without_tokens(response.text).strip() in without_tokens(page)


def without_tokens(text: str) -> str:
    """A page without what differs each time it's asked for."""
    return re.sub(r'name="csrf_token" value="[^"]+"', "", text)


def test_how_an_import_ended_can_be_hidden_until_the_next_one(app: Flask, viewer: Visitor) -> None:
    with app.app_context():
        run_id = factories.import_run(state="failed").id
    assert f'name="run" value="{run_id}"' in viewer.get(PILL, HX_Request="true").text
    response = viewer.post(PILL, {"run": str(run_id)})
    assert (response.status_code, response.headers["Location"]) == (303, "/imports/")
    assert text_of(viewer.get(PILL, HX_Request="true")) == ""
    with app.app_context():
        factories.import_run(state="partial")
    assert text_of(viewer.get(PILL, HX_Request="true")) == "Import: Incomplete"


def test_hiding_by_htmx_leaves_the_place_for_the_next_import(app: Flask, viewer: Visitor) -> None:
    with app.app_context():
        run_id = factories.import_run(state="failed").id
    part = viewer.post(PILL, {"run": str(run_id)}, HX_Request="true")
    assert (part.status_code, text_of(part)) == (200, "")
    assert 'id="import-pill"' in part.text
    assert text_of(viewer.get(PILL, HX_Request="true")) == ""


@pytest.mark.parametrize("run", ["", "x", "9" * 1000, "-1"])
def test_hiding_no_import_hides_nothing(app: Flask, viewer: Visitor, run: str) -> None:
    with app.app_context():
        factories.import_run(state="failed")
    assert viewer.post(PILL, {"run": run}).status_code == 303
    assert text_of(viewer.get(PILL, HX_Request="true")) == "Import: Failed"


def test_an_import_that_runs_cannot_be_hidden(app: Flask, viewer: Visitor) -> None:
    with app.app_context():
        run_id = factories.import_run(state="running", finished_at=None).id
    assert "<form" not in viewer.get(PILL, HX_Request="true").text
    viewer.post(PILL, {"run": str(run_id)})
    assert text_of(viewer.get(PILL, HX_Request="true")) == "Import: Running"


def test_the_pill_shows_the_running_import_not_the_next_one(app: Flask, viewer: Visitor) -> None:
    with app.app_context():
        factories.import_run(state="failed")
        factories.import_run(state="running", bytes_total=2, bytes_done=1, finished_at=None)
        factories.import_run(state="queued", finished_at=None)
    assert text_of(viewer.get(PILL, HX_Request="true")) == "Import: 50 %"


def test_the_pill_takes_two_queries(viewer: Visitor, count_queries: Count) -> None:
    with count_queries() as queries:
        viewer.get(PILL, HX_Request="true", Slipway_Poll="1")
    assert len(queries) == 2, queries


def test_a_part_is_one_element_and_no_page(viewer: Visitor) -> None:
    part = viewer.get(PILL, HX_Request="true")
    assert part.text.strip().startswith('<span class="pill" id="import-pill"')
    assert "<html" not in part.text
    assert part.headers["Cache-Control"] == "no-store"


def test_going_back_in_history_gets_the_whole_page(viewer: Visitor) -> None:
    page = viewer.get("/imports/", HX_Request="true", HX_History_Restore_Request="true")
    assert "<html" in page.text


def test_the_gallery_shows_every_component(app: Flask, stranger: Visitor) -> None:
    gallery.register(app)
    response = stranger.get("/gallery")
    assert response.status_code == 200
    shown = text_of(response)
    for words in ("812 MB", "3 minutes ago", "Expected 4A3C", "Downloading 42 %", "(optional)"):
        assert words in shown


def test_a_wrong_field_is_tied_to_its_message_and_help(app: Flask, stranger: Visitor) -> None:
    gallery.register(app)
    page = stranger.get("/gallery").text
    control = re.search(r'<input[^>]*id="url"[^>]*>', page)
    assert control
    assert 'aria-describedby="url-problem url-help"' in control[0]
    assert 'aria-invalid="true"' in control[0]
    assert "autofocus" in control[0]
    for id in ("url-problem", "url-help"):
        assert page.count(f'id="{id}"') == 1
    assert page.count('<label for="url">') == 1


def test_ids_are_used_once_a_page(app: Flask, visit: Callable[..., Visitor]) -> None:
    gallery.register(app)
    visitor = visit(Role.ADMINISTRATOR)
    for path in ("/gallery", "/account", "/users/", "/users/add", f"/users/{visitor.user_id}"):
        ids = re.findall(r'\sid="([^"]+)"', visitor.get(path).text)
        assert len(ids) == len(set(ids)), (path, sorted(ids))
