# SPDX-License-Identifier: Apache-2.0
"""In Chromium, wide and on a phone: two sources, a switch of priority, its undo; a bound image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import factories, scenery
from tests.support.browser import OpenPage, axe
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import Role, utcnow

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A Slipway whose two sources offer noble, and an administrator's cookie."""
    app = scenery.make_app(tmp_path)
    cookie = Visitor(app, Role.ADMINISTRATOR).cookie()
    with app.app_context():
        for name, priority in (("stable", 5), ("lab", 1)):
            source = factories.boot_source(
                name=name,
                priority=priority,
                is_unsigned=True,
                keyring_filename="",
                checked_at=utcnow(),
                refreshed_at=utcnow(),
            )
            factories.cache_entry(source, version=f"2026010{priority}")
            factories.selection(source)
            if name == "stable":
                factories.boot_resource(source_id=source.id, title="Ubuntu 24.04 LTS")
        db.session.remove()
        with scenery.served(app) as found:
            yield found, cookie


def enter(open_page: OpenPage, url: tuple[str, str], width: int) -> Page:
    page = open_page(url[0], width=width)
    page.context.add_cookies([{"name": "slipway", "value": url[1], "url": url[0]}])
    return page


def check(page: Page) -> None:
    """Accessible, and no wider than its window."""
    axe(page)
    widths = "[document.documentElement.scrollWidth, window.innerWidth]"
    content, window = page.evaluate(widths)
    assert content <= window


@pytest.mark.parametrize("width", [1280, 390], ids=["wide", "phone"])
def test_a_switch_of_priority_is_previewed_made_and_undone(
    url: tuple[str, str], open_page: OpenPage, width: int
) -> None:
    page = enter(open_page, url, width)
    page.goto("/sources/")
    page.get_by_role("link", name="lab", exact=True).click()
    page.get_by_label("New priority").fill("9")
    page.get_by_role("button", name="Preview change").click()
    row = page.get_by_role("row", name="ubuntu/noble")
    shown = row.inner_text()
    assert all(words in shown for words in ("20260105", "20260101", "stable", "lab"))
    check(page)
    page.get_by_role("button", name="Set priority", exact=True).click()
    page.get_by_text("Priority of lab changed.").wait_for()
    page.goto("/sources/offers")
    assert page.get_by_role("row", name="lab").get_by_text("Used", exact=True).count() == 1
    page.goto("/sources/")
    page.get_by_text("Last change: lab: priority 1 to 9").wait_for()
    check(page)
    page.get_by_role("link", name="Undo").click()
    page.get_by_role("heading", name="Undo “lab: priority 1 to 9”?").wait_for()
    check(page)
    page.get_by_role("button", name="Undo change", exact=True).click()
    page.get_by_text("Undone: lab: priority 1 to 9.").wait_for()
    page.goto("/sources/offers")
    assert page.get_by_role("row", name="stable").get_by_text("Used", exact=True).count() == 1


@pytest.mark.parametrize("width", [1280, 390], ids=["wide", "phone"])
def test_an_image_is_bound_to_a_source_that_is_disabled_later(
    url: tuple[str, str], open_page: OpenPage, width: int
) -> None:
    page = enter(open_page, url, width)
    page.goto("/sources/offers")
    check(page)
    page.get_by_role("link", name="Bind ubuntu noble amd64 to lab").click()
    page.get_by_role("heading", name="Bind ubuntu/noble amd64 to lab?").wait_for()
    check(page)
    page.get_by_role("button", name="Bind image", exact=True).click()
    page.get_by_text("ubuntu/noble amd64 is bound to lab.").wait_for()
    check(page)
    page.goto("/imports/plan")
    assert page.get_by_text("bound to lab").count() == 1
    page.goto("/sources/")
    page.get_by_role("link", name="lab", exact=True).click()
    page.get_by_role("link", name="Disable", exact=True).click()
    page.get_by_text("bound to lab, which is disabled").wait_for()
    page.get_by_role("button", name="Disable boot source", exact=True).click()
    page.get_by_text("lab disabled.").wait_for()
    page.goto("/sources/offers")
    page.get_by_text("Stays as it is").wait_for()
    check(page)
    page.get_by_role("link", name="Unbind ubuntu noble amd64").click()
    page.get_by_role("button", name="Unbind image", exact=True).click()
    page.get_by_text("ubuntu/noble amd64 is no longer bound.").wait_for()
