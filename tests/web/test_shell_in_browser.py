# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from flask import Flask, abort, request
from playwright.sync_api import expect
from sqlalchemy import delete, select, update
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support import factories
from tests.support.browser import OpenPage, Watch, axe
from tests.web import gallery
from tests.web.images.boxes import offer
from webapp.extensions import db
from webapp.models import APIKey, ImportRun, LoginSession, Role, utcnow
from webapp.services.accounts import users

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery staple"


class Quiet(WSGIRequestHandler):
    """Says nothing about each request."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


class Site:
    """The app on a port of its own.

    is_down: what is polled fails. answers: POSTs are answered only while it is set.
    is_asked: set by each POST that arrives.
    """

    def __init__(self, app: Flask) -> None:
        self.app, self.is_down = app, False
        self.answers = threading.Event()
        self.answers.set()
        self.is_asked = threading.Event()
        gallery.register(app)
        app.before_request(self._fail)
        with app.app_context():
            users.create_user("maria", PASSWORD, Role.ADMINISTRATOR)
            factories.user("jonas")
            factories.import_run(
                state="running",
                bytes_total=100,
                bytes_done=42,
                finished_at=None,
                started_at=utcnow(),
            )
            db.session.remove()
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _fail(self) -> None:
        if self.is_down and request.headers.get("Slipway-Poll"):
            abort(503)
        if request.method == "POST":
            self.is_asked.set()
            self.answers.wait(10)


@pytest.fixture
def site(app: Flask) -> Iterator[Site]:
    made = Site(app)
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("User name").fill("maria")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".account").get_by_text("maria", exact=True).wait_for()


def test_axe_finds_nothing_in_the_components_and_our_own_pages(
    site: Site, open_page: OpenPage, watch: Watch
) -> None:
    watch.allow(404, 403)
    page = open_page(site.url)
    page.goto("/sign-in")
    axe(page)
    page.goto("/nowhere")
    axe(page)
    sign_in(page)
    for path in ("/gallery", "/account", "/users/", "/users/add", "/users/2", "/nowhere"):
        page.goto(path)
        if path == "/account":
            page.locator(".account summary").click()
        axe(page)
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".nav summary").click()
    axe(page)
    ask_again(site, page)
    axe(page)


def ask_again(site: Site, page: Page) -> None:
    """Come to the page that asks for the password again, a while after signing in."""
    with site.app.app_context():
        db.session.execute(update(LoginSession).values(confirmed_at=None))
        db.session.commit()
    page.goto("/account")
    page.get_by_label("Name").fill("nightly script")
    page.get_by_role("button", name="Create API key").click()
    page.get_by_role("heading", name="Confirm it's you").wait_for()


def test_an_account_is_managed_without_javascript(site: Site, open_page: OpenPage) -> None:
    page = open_page(site.url, js=False, width=390)
    sign_in(page)
    page.goto("/account")
    assert page.get_by_role("button", name="Show").count() == 0
    ask_again(site, page)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Wrong password.").wait_for()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    assert page.locator("#new-key").inner_text().count(":") == 2
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke API key").click()
    page.get_by_text("API key revoked.").wait_for()
    page.get_by_role("button", name="Dark").click()
    page.wait_for_selector("html[data-theme=dark]")
    page.locator(".account summary").click()
    page.locator(".account").get_by_role("button", name="Sign out").click()
    page.get_by_text("You've been signed out.").wait_for()


def choose(page: Page, theme: str, shown: str) -> None:
    """Press a button of the switch and wait until the page has come anew, styles and all."""
    page.get_by_role("button", name=theme).click()
    page.wait_for_selector(shown)
    page.wait_for_load_state()


def test_the_theme_follows_the_switch_and_else_the_system(site: Site, open_page: OpenPage) -> None:
    page = open_page(site.url, dark=True)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    page.goto("/sign-in")
    dark = page.evaluate(ground)
    choose(page, "Light", "html[data-theme=light]")
    light = page.evaluate(ground)
    assert light != dark
    page.emulate_media(color_scheme="light")
    choose(page, "System", "html:not([data-theme])")
    assert page.evaluate(ground) == light


def test_keys_alone_are_enough(site: Site, open_page: OpenPage) -> None:
    page = open_page(site.url)
    page.goto("/sign-in")
    page.keyboard.type("maria")  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.locator(".account").get_by_text("maria", exact=True).wait_for()
    page.goto("/account")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.wait_for_url("**/account#main")
    menu = page.locator(".account details")
    menu.locator("summary").press("Enter")
    assert menu.evaluate("menu => menu.open")
    page.keyboard.press("Escape")
    assert not menu.evaluate("menu => menu.open")


def test_a_failed_import_is_hidden_in_place(site: Site, open_page: OpenPage) -> None:
    with site.app.app_context():
        db.session.execute(db.text("UPDATE import_run SET state = 'failed'"))
        db.session.commit()
        db.session.remove()
    page = open_page(site.url)
    sign_in(page)
    page.goto("/account?x=1")
    page.locator("#import-pill").get_by_text("Failed").wait_for()
    page.get_by_role("button", name="Hide until the next import").click()
    page.locator("#import-pill").get_by_text("Failed").wait_for(state="hidden")
    assert page.url.endswith("/account?x=1")
    page.reload()
    assert page.locator("#import-pill").inner_text() == ""


def ended(site: Site) -> None:
    """The import of the site has ended."""
    with site.app.app_context():
        values = {"state": "succeeded", "finished_at": utcnow()}
        db.session.execute(update(ImportRun).values(values))
        db.session.commit()
        db.session.remove()


def test_pages_opened_while_nothing_runs_notice_an_import(site: Site, open_page: OpenPage) -> None:
    ended(site)
    page = open_page(site.url)
    sign_in(page)
    page.goto("/imports/")
    page.get_by_role("heading", name="No import is running").wait_for()
    with site.app.app_context():
        factories.import_run(state="queued", finished_at=None)
        db.session.remove()
    page.get_by_role("heading", name="Queued").wait_for()
    ended(site)
    page.get_by_role("heading", name="No import is running").wait_for()


def test_ticks_outlive_an_import_and_are_not_lost_in_silence(
    site: Site, open_page: OpenPage
) -> None:
    ended(site)
    with site.app.app_context():
        source = factories.boot_source(checked_at=utcnow())
        offer(source, release="noble", release_version="24.04")
        factories.selection(source, release="jammy")
        db.session.remove()
    page = open_page(site.url)
    sign_in(page)
    page.goto("/images/")
    box = page.locator("#grid").get_by_role("checkbox").first
    box.check()
    page.locator(".savebar.is-pending").wait_for()
    with site.app.app_context():
        factories.import_run(state="queued", finished_at=None)
        db.session.remove()
    with page.expect_response("**/images/offered") as answer:
        page.get_by_role("link", name="View import").wait_for()
    assert answer.value.ok
    expect(box).to_be_checked()
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_role("link", name="Racks", exact=True).click()
    page.wait_for_function("document.querySelector('.savebar.is-pending') !== null")
    assert (asked, page.url.endswith("/images/")) == (["beforeunload"], True)
    page.get_by_role("link", name="Reset").click()
    page.get_by_text("No changes.").wait_for()
    page.get_by_role("link", name="Racks", exact=True).click()
    page.wait_for_url("**/racks/")
    assert asked == ["beforeunload"]


def test_a_password_can_be_shown_and_a_key_copied(site: Site, open_page: OpenPage) -> None:
    page = open_page(site.url)
    sign_in(page)
    page.goto("/account")
    show = page.get_by_role("button", name="Show")
    show.click()
    assert page.locator("#password, #again").evaluate_all("all => all.map(i => i.type)") == [
        "text",
        "text",
    ]
    show.click()
    assert page.locator("#password").get_attribute("type") == "password"
    page.get_by_label("Name").fill("script")
    page.get_by_role("button", name="Create API key").click()
    key = page.locator("#new-key").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == key


def test_an_impatient_hand_sends_a_form_once(site: Site, open_page: OpenPage) -> None:
    page = open_page(site.url)
    sign_in(page)
    page.goto("/account")
    page.get_by_label("Name").fill("script")
    page.get_by_role("button", name="Create API key").focus()
    site.answers.clear()
    site.is_asked.clear()
    page.keyboard.press("Enter")
    assert site.is_asked.wait(30)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    site.answers.set()
    page.locator("#new-key").wait_for()
    page.go_back()  # the form can be sent again, also where the browser kept the page
    page.get_by_label("Name").fill("another script")
    page.get_by_role("button", name="Create API key").click()
    page.locator("#new-key").wait_for()
    with site.app.app_context():
        names = db.session.scalars(select(APIKey.name).order_by(APIKey.id)).all()
        db.session.remove()
    assert names == ["script", "another script"]


def test_a_refused_form_is_swapped_in_with_the_focus_on_the_wrong_field(
    site: Site, open_page: OpenPage
) -> None:
    page = open_page(site.url)
    page.goto("/gallery")
    page.evaluate("window.wasReloaded = false")
    page.get_by_label("Address").fill("ftp://somewhere")
    with page.expect_response(lambda r: r.status == 422):
        page.get_by_role("button", name="Connect").click()
    page.locator("#url:focus").wait_for()
    page.keyboard.press("Control+a")
    page.keyboard.type("http://somewhere")
    page.get_by_role("button", name="Connect").click()
    page.locator("#notices").get_by_text("The address is saved.").wait_for()
    assert page.evaluate("window.wasReloaded") is False
    assert page.locator('#gallery-form [aria-invalid="true"]').count() == 0
    page.locator("#notices").get_by_role("button", name="Dismiss").click()
    assert page.locator("#notices .notice").count() == 0


def test_the_pill_moves_by_itself_and_shows_when_the_server_is_gone(
    site: Site, open_page: OpenPage, watch: Watch
) -> None:
    watch.allow(503)
    page = open_page(site.url)
    sign_in(page)
    page.goto("/account")
    pill = page.locator("#import-pill")
    assert "42 %" in pill.inner_text()
    with site.app.app_context():
        factories.import_run(state="failed", finished_at=utcnow())
        db.session.execute(db.text("UPDATE import_run SET bytes_done = 77 WHERE state = 'running'"))
        db.session.commit()
        db.session.remove()
    pill.get_by_text("77 %").wait_for()
    site.is_down = True
    page.get_by_text("Can't reach Slipway.").wait_for()
    assert "77 %" in pill.inner_text()
    site.is_down = False
    page.get_by_text("Can't reach Slipway.").wait_for(state="hidden")


def test_a_page_left_open_leads_to_sign_in_when_its_session_ends(
    site: Site, open_page: OpenPage, watch: Watch
) -> None:
    watch.allow(401)
    page = open_page(site.url)
    sign_in(page)
    page.goto("/account?x=1")
    with site.app.app_context():
        db.session.execute(delete(LoginSession))
        db.session.commit()
        db.session.remove()
    page.wait_for_url("**/sign-in?next=/account?x%3D1")
    page.get_by_label("User name").fill("maria")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account?x=1")
