# SPDX-License-Identifier: Apache-2.0
"""Pages with pictures, and the tabs, in a real browser: axe, every width, and keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from tests.support import factories, scenery
from tests.support.browser import OpenPage, axe
from webapp.extensions import db
from webapp.models import ImportRun, Role, utcnow
from webapp.services.accounts import users

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery staple"


@pytest.fixture
def site(app: Flask) -> Iterator[str]:
    """The pages after a week; their address."""
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.ADMINISTRATOR)
        scenery.events()
        factories.boot_resource({"squashfs": b"root"}, release="noble")
        scenery.unprepared_esxi("maria")
        db.session.remove()
    with scenery.served(app) as url:
        yield url


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("User name").fill("maria")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".account").get_by_text("maria", exact=True).wait_for()


def looked_at(page: Page) -> None:
    """What axe finds on a page, and whether a wide window holds it."""
    axe(page)
    page.set_viewport_size({"width": 1920, "height": 1080})
    assert page.evaluate("document.documentElement.scrollWidth") <= 1920
    page.set_viewport_size({"width": 1280, "height": 800})


def test_pages_with_pictures_are_clean_and_go_by_keyboard(site: str, open_page: OpenPage) -> None:
    page = open_page(site)
    sign_in(page)
    page.goto("/events/")
    page.get_by_label("Machine").focus()
    page.keyboard.type("192.0.2.21")
    page.keyboard.press("Enter")
    page.get_by_text("Stopped with 189 MB left").wait_for()
    looked_at(page)
    page.goto("/storage/")
    page.get_by_role("heading", name="What takes the room").wait_for()
    looked_at(page)
    page.goto("/")
    page.get_by_role("heading", name="Fetched by machines").wait_for()
    for details in ("#store-numbers", "#week-numbers"):
        page.locator(f"{details} summary").press("Enter")
        page.locator(f"{details}[open]").wait_for()
    looked_at(page)


def test_the_overview_shows_what_changes_and_leaves_the_focus(
    app: Flask, site: str, open_page: OpenPage
) -> None:
    page = open_page(site)
    sign_in(page)
    page.goto("/")
    page.get_by_text("No import has run yet").wait_for()
    page.locator("#all-events").focus()
    with app.app_context():
        values = {"state": "running", "bytes_total": 300, "bytes_done": 100}
        run_id = factories.import_run(finished_at=None, **values).id
        db.session.remove()
    page.locator(".headline", has_text="An import is running: 33 %").wait_for()
    page.locator("#announcer", has_text="An import is running: 25 percent").wait_for(
        state="attached"
    )
    page.locator("#all-events:focus").wait_for()
    with app.app_context():
        run = db.session.get_one(ImportRun, run_id)
        run.state, run.finished_at = "succeeded", utcnow()
        db.session.commit()
        db.session.remove()
    page.get_by_text("No import is running.").wait_for()
    page.locator("#all-events:focus").wait_for()


def test_the_overview_tells_the_same_without_javascript_on_a_phone(
    site: str, open_page: OpenPage
) -> None:
    page = open_page(site, js=False, width=390, dark=True)
    sign_in(page)
    page.goto("/")
    page.locator(".headline", has_text="need attention").wait_for()
    page.get_by_role("heading", name="Needs attention").wait_for()
    page.locator("#week-numbers summary").click()
    page.get_by_role("row", name=re.compile("^Today, ")).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#last-machine").click()
    page.get_by_role("heading", name="Events", exact=True).first.wait_for()


def test_pages_with_pictures_work_without_javascript(site: str, open_page: OpenPage) -> None:
    page = open_page(site, js=False, width=390)
    sign_in(page)
    page.goto("/events/")
    page.get_by_label("Kind").select_option("Users")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="User signed in").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "events.csv"


def test_words_of_a_button_stay_together_and_bars_fill_a_phone(
    site: str, open_page: OpenPage
) -> None:
    page = open_page(site)
    sign_in(page)
    page.goto("/uploads/")
    box = page.locator("td .button", has_text="Discard").first.bounding_box()
    assert box
    assert box["height"] < 48
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/storage/")
    bar = page.locator(".cards .bar").first.bounding_box()
    assert bar
    assert bar["width"] > 180


@pytest.mark.parametrize("js", [True, False])
def test_pages_fold_into_a_menu_on_a_phone_and_stand_in_a_row_elsewhere(
    site: str, open_page: OpenPage, js: bool
) -> None:
    page = open_page(site, js=js)
    sign_in(page)
    page.goto("/account")
    menu, racks = page.locator(".nav summary"), page.get_by_role("link", name="Racks", exact=True)
    assert racks.is_visible()
    assert not menu.is_visible()
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 844})
        tabs = page.locator(".nav a")
        tops = tabs.evaluate_all("all => all.map(a => a.getBoundingClientRect().top)")
        assert len(set(tops)) == 1, f"tabs take more than one line at {width} px"
    page.set_viewport_size({"width": 390, "height": 844})
    assert not racks.is_visible()
    menu.press("Enter")
    racks.wait_for()
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Overview"
    racks.click()
    page.wait_for_url("**/racks/")
