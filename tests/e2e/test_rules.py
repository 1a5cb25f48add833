# SPDX-License-Identifier: Apache-2.0
"""In Chromium, on a phone without JavaScript: choose kernels, and select images by a rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import factories, scenery
from tests.support.browser import OpenPage, Watch, axe
from tests.web.images.boxes import offer
from tests.web.visitors import Visitor
from webapp.models import Role, utcnow

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HWE = {"subarch": "hwe-24.04", "answers_to": ["hwe-24.04"]}


def test_choose_kernels_and_add_a_rule(tmp_path: Path, open_page: OpenPage, watch: Watch) -> None:
    watch.allow(409)
    watch.allow(422)
    app = scenery.make_app(tmp_path)
    cookie = Visitor(app, Role.OPERATOR).cookie()
    with app.app_context():
        source = factories.boot_source(name="lab", checked_at=utcnow(), refreshed_at=utcnow())
        offer(source, release="noble", release_version="24.04")
        offer(source, release="noble", release_version="24.04", **HWE)
        offer(source, release="jammy", release_version="22.04")
        with scenery.served(app) as url:
            page = open_page(url, js=False)
            page.set_viewport_size({"width": 390, "height": 844})
            page.context.add_cookies([{"name": "slipway", "value": cookie, "url": url}])
            page.goto("/images/")
            page.get_by_role("link", name="Kernels of Ubuntu 24.04 LTS").click()
            page.get_by_role("checkbox", name="amd64").check()
            page.get_by_label("Only the selected kernels").check()
            page.get_by_role("checkbox", name="GA 24.04").uncheck()
            page.get_by_role("button", name="Save kernels").click()
            page.get_by_text("the kernel that machines ask for as generic").wait_for()
            page.get_by_role("checkbox", name="GA 24.04").check()
            page.get_by_role("checkbox", name="HWE 24.04").uncheck()
            page.get_by_role("button", name="Confirm and save").click()
            page.get_by_text("Kernels of Ubuntu 24.04 LTS saved.").wait_for()
            page.get_by_text("1 of 2 kernels").wait_for()

            page.get_by_role("link", name="Rules").click()
            page.get_by_role("link", name="Add rule").click()
            page.get_by_label("Kernels").fill("ga")
            page.get_by_role("button", name="Preview rule").click()
            page.get_by_text("1 to download, 0 to remove").wait_for()  # noble is selected already
            page.get_by_role("button", name="Save rule").click()
            page.get_by_text("Saved the rule Newest 2 Ubuntu LTS, ga.").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.get_by_role("link", name="Edit").click()
            page.get_by_label("How many").fill("0")
            page.get_by_role("button", name="Save rule").click()
            page.get_by_text("Give a number from 1 to 50.").wait_for()

            page = open_page(url)
            page.context.add_cookies([{"name": "slipway", "value": cookie, "url": url}])
            for path in ("images/ubuntu/noble/kernels/", "images/rules/", "images/rules/new"):
                page.goto(f"/{path}")
                axe(page)
            page.close()  # it polls, and the server ends now
