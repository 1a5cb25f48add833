# SPDX-License-Identifier: Apache-2.0
"""In Chromium: pin an image, roll it back, and let it go forward again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import factories, scenery
from tests.support.browser import OpenPage, axe
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import Role

pytestmark = [pytest.mark.browser, pytest.mark.slow]
OLD, NEW = "20260105", "20260201"


def test_pin_and_roll_back(tmp_path: Path, open_page: OpenPage) -> None:
    app = scenery.make_app(tmp_path)
    cookie = Visitor(app, Role.OPERATOR).cookie()
    with app.app_context():
        source = factories.boot_source(name="lab")
        factories.selection(source)
        made = factories.boot_resource(source_id=source.id, title="Ubuntu 24.04 LTS")
        made.current_set_id = factories.resource_set(made, version=NEW).id
        db.session.commit()
        with scenery.served(app) as url:
            page = open_page(url)
            page.context.add_cookies([{"name": "slipway", "value": cookie, "url": url}])
            page.goto("/images/ubuntu/noble/amd64")
            axe(page)
            page.get_by_role("button", name="Pin", exact=True).click()
            page.get_by_text(f"Pinned to version {NEW}.").wait_for()
            page.get_by_role("link", name="Roll back").click()
            page.get_by_text("nothing is downloaded").wait_for()
            axe(page)
            page.get_by_role("button", name="Roll back").click()
            page.get_by_text(f"Version {OLD} is now current. It's pinned").wait_for()
            row = page.get_by_role("row", name=re.compile(OLD))
            for word in ("Current", "Pinned"):
                assert row.get_by_text(word, exact=True).count() == 1
            page.get_by_role("link", name="Make current").click()
            page.get_by_role("button", name="Make current", exact=True).click()
            page.get_by_text(f"Version {NEW} is now current.").wait_for()
            assert page.get_by_text("Pinned", exact=True).count() == 0
            page.close()  # it polls, and the server ends now
