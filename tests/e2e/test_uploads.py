# SPDX-License-Identifier: Apache-2.0
"""Uploads in a real browser: looked at, paused, reloaded, gone on with, mended; plans too."""

from __future__ import annotations

import gzip
import hashlib
import random
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import disks
from tests.browser import OpenPage, Watch, axe
from tests.e2e.test_main_job import set_up
from tests.live import LiveSlipway, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Start = Callable[[dict[str, str]], LiveSlipway]
CALM = {"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"}


def raw_disk(size: int) -> bytes:
    """A Linux disk whose bytes do not pack, so that sending it takes a while."""
    disk = bytearray(disks.linux_disk(size))
    noise = random.Random(size)
    for start in range(1 << 20, size - (2 << 20), 1 << 20):
        disk[start : start + (1 << 20)] = noise.randbytes(1 << 20)
    return bytes(disk)


def fetched(slipway: LiveSlipway, name: str) -> str:
    """The SHA-256 of what a machine gets."""
    with urllib.request.urlopen(f"{slipway.rack_url}images/{name}", timeout=60) as answer:
        return hashlib.file_digest(answer, "sha256").hexdigest()


def test_an_upload_is_paused_reloaded_and_gone_on_with(
    tmp_path: Path, make_live: Start, open_page: OpenPage
) -> None:
    slipway = make_live(CALM)
    page = open_page(slipway.web_url)
    set_up(page, slipway)
    data = raw_disk(160 << 20)
    file = tmp_path / "lab disk.raw"
    file.write_bytes(data)
    page.goto("/uploads/")
    axe(page)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("main").get_by_text("Not compressed, GPT disk of 160 MiB").wait_for()
    assert page.get_by_label("Name", exact=True).first.input_value() == "lab-disk"
    assert page.get_by_label("File type").first.input_value() == "ddraw"
    page.get_by_label("Name", exact=True).first.fill("lab")
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("button", name="Pause").click()
    page.locator("main").get_by_text("Paused.").wait_for()
    page.reload()  # as if the tab had been closed
    page.locator("main").get_by_text("Waits for the rest").wait_for()
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("main").get_by_text("GPT disk of 160 MiB").wait_for()
    page.get_by_label("Name", exact=True).first.fill("lab")
    page.get_by_role("button", name="Upload").click()
    page.locator("main").get_by_text("Machines can get it").wait_for(timeout=90_000)
    digest = hashlib.sha256(data).hexdigest()
    assert page.locator("main").get_by_text(digest).count() == 1
    assert fetched(slipway, "custom/amd64/generic/lab/uploaded/root-dd.raw") == digest
    axe(page)
    # The same bytes under another name: nothing has to be sent to the end.
    page.goto("/uploads/")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("main").get_by_text("GPT disk of 160 MiB").wait_for()
    page.get_by_label("Name", exact=True).first.fill("twin")
    page.get_by_role("button", name="Upload").click()
    page.locator("main").get_by_text("Machines can get it").wait_for(timeout=90_000)


def test_a_mix_up_is_mended_by_one_click_and_esxi_is_recognised(
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
    assert page.get_by_label("File type").first.input_value() == "ddgz"
    assert page.get_by_label("Name", exact=True).first.input_value().startswith("esxi/")
    page.get_by_label("File type").first.select_option("ddtgz")
    page.locator("main").get_by_text("This is no ddtgz").wait_for()
    page.get_by_role("button", name="Use ddgz").click()
    page.locator("main").get_by_text("This is not what you said it is").wait_for(state="hidden")
    assert page.get_by_label("File type").first.input_value() == "ddgz"
    page.get_by_label("Name", exact=True).first.fill("esxi/6.7")
    page.get_by_role("button", name="Upload").click()
    page.locator("main").get_by_text("Machines can get it").wait_for(timeout=90_000)
    page.locator("main").get_by_text(
        "VMware ESXi 6.7.0 build 14320388, prepared for deployment"
    ).first.wait_for()
    page.goto("/vmware/")
    page.locator("main").get_by_text("VMware ESXi 6.7.0 build 14320388").wait_for()
    axe(page)


def test_a_network_plan_is_mended_by_one_click(
    make_live: Start, open_page: OpenPage, watch: Watch
) -> None:
    slipway = make_live(CALM)
    page = open_page(slipway.web_url)
    set_up(page, slipway)
    page.goto("/vmware/network")
    page.get_by_role("link", name="Show an example").click()
    text = page.get_by_label("Network configuration v1").input_value()
    page.get_by_label("Network configuration v1").fill(text.replace("active-backup", "balance-tlb"))
    page.get_by_role("button", name="Plan it").click()
    page.locator("main").get_by_text("The host would be lost: 1 error").wait_for()
    axe(page)
    page.get_by_role("button", name="Use active-backup").click()
    page.locator("main").get_by_text("Every command will be taken").wait_for()
    page.get_by_role("button", name="Let eth1 be active").click()
    page.locator("main").get_by_text("10.20.0.15 on vmk0 via vmnic1").wait_for()
    axe(page)


def test_a_server_that_is_started_anew_goes_on_with_uploads(
    tmp_path: Path, make_live: Start
) -> None:
    """The command line meets a server that dies on it again and again."""
    import subprocess
    import time

    from tests.live import ADMIN, PASSWORD, SLIPWAY

    slipway = make_live(CALM)
    slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    token = tmp_path / "token"
    token.write_text(slipway.cli("admin", "token", ADMIN, "--scope", "all"))
    data = raw_disk(300 << 20)
    file = tmp_path / "disk.raw"
    file.write_bytes(data)
    command = ["upload", str(file), "--name", "lab", "--filetype", "ddraw"]
    command += ["--url", slipway.web_url, "--token-file", str(token)]
    sending = subprocess.Popen(
        [SLIPWAY, *command], env=slipway.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    chance = random.Random(7)
    for _ in range(3):
        time.sleep(0.5 + chance.random())
        if sending.poll() is not None:
            break
        before = slipway.pids("web")
        if before:
            slipway.kill("web")
            slipway.wait_for("web", other_than=before)
    output, _ = sending.communicate(timeout=150)
    assert sending.returncode == 0, output.decode()
    digest = hashlib.sha256(data).hexdigest()
    wait_until(
        lambda: fetched(slipway, "custom/amd64/generic/lab/uploaded/root-dd.raw") == digest,
        "the image is served",
    )
