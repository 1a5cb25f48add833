# SPDX-License-Identifier: Apache-2.0
"""Uploads in a real browser: images that belong elsewhere, and network plans."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.test_main_job import set_up
from tests.e2e.uploads.disk import CALM, Start
from tests.support import disks
from tests.support.browser import OpenPage, Watch, axe

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.timeout(400)
def test_a_mix_up_is_fixed_by_one_click_and_esxi_is_recognised(
    tmp_path: Path, make_live: Start, open_page: OpenPage
) -> None:
    slipway = make_live(CALM)
    page = open_page(slipway.web_url)
    set_up(page, slipway)
    file = tmp_path / "vmware-esxi.dd.gz"
    file.write_bytes(gzip.compress(disks.small_esxi(), 1, mtime=0))
    page.goto("/uploads/")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("#verdict").get_by_text("VMware ESXi").first.wait_for()
    expect(page.get_by_label("File type").first).to_have_value("ddgz")
    expect(page.get_by_label("Name", exact=True).first).to_have_value(re.compile("^esxi/"))
    page.get_by_label("File type").first.select_option("ddtgz")
    page.locator("main").get_by_text("This isn't ddtgz").wait_for()
    page.get_by_role("button", name="Use ddgz").click()
    page.locator("main").get_by_text("Type mismatch").wait_for(state="hidden")
    expect(page.get_by_label("File type").first).to_have_value("ddgz")
    page.get_by_label("Name", exact=True).first.fill("esxi/6.7")
    page.get_by_role("button", name="Upload").click()
    page.locator("main").get_by_text("Ready", exact=True).wait_for()
    page.locator("main").get_by_text(
        "VMware ESXi 6.7.0 build 14320388, prepared for deployment"
    ).first.wait_for()
    page.goto("/vmware/")
    page.locator("main").get_by_text("VMware ESXi 6.7.0 build 14320388").wait_for()
    axe(page)
    file = tmp_path / "win2022.dd.gz"
    file.write_bytes(gzip.compress(disks.windows_disk(), 1, mtime=0))
    page.goto("/uploads/")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Use windows/win2022").click()
    page.locator("#verdict").get_by_text("should begin with windows/").wait_for(state="hidden")
    expect(page.get_by_label("Name", exact=True).first).to_have_value("windows/win2022")


def test_a_network_plan_is_fixed_by_one_click(
    make_live: Start, open_page: OpenPage, watch: Watch
) -> None:
    slipway = make_live(CALM)
    page = open_page(slipway.web_url)
    set_up(page, slipway)
    page.goto("/vmware/network")
    page.get_by_role("link", name="Show an example").click()
    text = page.get_by_label("Network configuration v1").input_value()
    page.get_by_label("Network configuration v1").fill(text.replace("active-backup", "balance-tlb"))
    page.get_by_role("button", name="Preview plan").click()
    page.locator("main").get_by_text("Host would be unreachable: 1 error").wait_for()
    axe(page)
    page.get_by_role("button", name="Use active-backup").click()
    page.locator("main").get_by_text("All commands are valid").wait_for()
    page.get_by_role("button", name="Make eth1 active").click()
    page.locator("main").get_by_text("10.20.0.15 on vmk0 via vmnic1").wait_for()
    axe(page)
