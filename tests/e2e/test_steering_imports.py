# SPDX-License-Identifier: Apache-2.0
"""In Chromium: a window that makes imports wait, a plan that is run as approved, and an undo."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support.browser import OpenPage, axe
from tests.support.live import PASSWORD, LiveSlipway, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_window_a_plan_that_is_run_as_approved_and_an_undo(
    mirror: Mirror,
    mirror_server: MirrorServer,
    make_live: Callable[..., LiveSlipway],
    open_page: OpenPage,
) -> None:
    slipway = make_live({"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"})
    slipway.cli("admin", "create", "ada", "--password-stdin", stdin=PASSWORD)
    slipway.cli("settings", "set", "boot_images_auto_import", "false")
    key = str(mirror.keyring_armored)
    slipway.cli("source", "add", mirror_server.source_url, "--keyring", key)
    wait_until(lambda: "jammy" in slipway.cli("image", "available"), "the source is read")
    for release in ("noble", "jammy"):
        slipway.cli("image", "select", f"ubuntu/{release}", "--arch", "amd64", "--yes")
    page = open_page(slipway.web_url)
    page.goto("/sign-in")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()

    # A window keeps imports waiting, and one that is started by hand is asked about first.
    page.goto("/imports/timing/")
    opens = datetime.now(UTC) + timedelta(hours=5)
    page.get_by_role("textbox", name="Import windows").fill(f"{opens:%H}:00-{opens:%H}:30")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Automatic imports wait for the next window").wait_for()
    page.get_by_role("button", name="Start import").click()
    page.get_by_text("No import window is open").wait_for()
    axe(page)
    page.get_by_role("link", name="Cancel").click()
    page.get_by_text("No import is running").first.wait_for()

    # The plan, in its order; exactly that is done.
    page.locator("#see-plan").click()
    page.get_by_role("link", name="Normal priority of ubuntu/noble").first.click()
    page.get_by_role("radio", name="High").check()
    axe(page)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("ubuntu/noble amd64 has high priority.").wait_for()
    rows = page.get_by_role("table", name="Add and replace").get_by_role("rowheader")
    names = [text for text in rows.all_inner_texts() if text.startswith("ubuntu/")]
    assert [name.splitlines()[0] for name in names] == ["ubuntu/noble"] * 2 + ["ubuntu/jammy"] * 2
    axe(page)
    page.get_by_role("button", name="Start this plan").click()
    page.get_by_role("button", name="Import now").click()
    page.get_by_text("The plan is started.").wait_for()
    wait_until(lambda: "succeeded" in slipway.cli("import", "list"), "the plan is carried out")
    page.goto("/imports/1")
    page.get_by_text("Approved by a user").wait_for()
    planned = page.locator("dd").filter(has_text="asks for it").count()
    assert planned == 4
    slipway.cli("settings", "set", "import_windows", "")

    # One image alone, by hand on the page and as a command.
    mirror.publish_next()
    page.goto("/images/")
    page.get_by_role("button", name=re.compile("Import Ubuntu 22.04.* amd64 now")).click()
    page.get_by_text("Import 2 of ubuntu/jammy amd64 has started.").wait_for()
    wait_until(lambda: slipway.cli("import", "list").count("succeeded") == 2, "one image came")
    assert "Only ubuntu/jammy amd64" in slipway.cli("import", "show", "2")
    done = slipway.cli("import", "start", "ubuntu/noble", "--arch", "amd64", "--wait")
    assert "Import 3: succeeded." in done
    slipway.cli("image", "priority", "ubuntu/noble", "normal", "--arch", "amd64")

    # Deleted, and restored from the bin.
    page.goto("/images/")
    page.get_by_role("link", name=re.compile("Delete Ubuntu 22.04.* amd64")).click()
    page.get_by_role("button", name="Delete image").click()
    page.get_by_text(re.compile("Deleted Ubuntu 22.04")).wait_for()
    page.locator("#open-bin").click()
    axe(page)
    page.get_by_role("button", name=re.compile("Restore")).click()
    page.get_by_text(re.compile("Restored")).first.wait_for()
    assert "ubuntu/jammy" in slipway.cli("image", "list")
