# SPDX-License-Identifier: Apache-2.0
"""``make screenshots``: walk through a real Slipway and write docs/screenshots.

Each page is taken wide and light, and small and dark; with ``--all`` also the other
two. The walk is the main job, set up, connect a source, select, import, check the storage,
and then a custom image: inspect and upload an ESXi disk, and plan its network.
"""

from __future__ import annotations

import argparse
import gzip
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import requests
from playwright.sync_api import sync_playwright

from tests.mirror.faults import Fault
from tests.mirror.maker import make_mirror
from tests.mirror.server import MirrorServer
from tests.support import disks, signed
from tests.support.browser import FLAGS, WIDTHS, chromium
from tests.support.live import PASSWORD, LiveSlipway, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

TARGET = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
Scheme = Literal["light", "dark"]
TAKEN: tuple[tuple[int, Scheme], ...] = ((1280, "light"), (390, "dark"))
REST: tuple[tuple[int, Scheme], ...] = ((1280, "dark"), (390, "light"))
Shoot = Callable[[str], None]


def main() -> int:
    """Take all pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="both widths, light and dark, each")
    parser.add_argument("--folder", type=Path, default=TARGET)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="slipway-") as folder,
        LiveSlipway(Path(folder) / "data") as slipway,
        sync_playwright() as playwright,
    ):
        mirror = make_mirror(
            Path(folder) / "mirror",
            signed.new_key("Example Image Signing <images@example.test>"),
            releases=["noble", "jammy", "focal", "questing"],
            arches=["amd64", "arm64", "ppc64el"],
            sizes={"squashfs": 4 << 20, "boot-initrd": 1 << 20, "root-tgz": 3 << 20},
            versions=1,
        )
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        context = browser.new_context(base_url=slipway.web_url, locale="en-GB")
        page = context.new_page()

        def shoot(name: str) -> None:
            for width, scheme in (*TAKEN, *REST) if options.all else TAKEN:
                page.set_viewport_size({"width": width, "height": WIDTHS[width]})
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                path = options.folder / f"{name}-{width}-{scheme}.png"
                # A bar that sticks to the window's end is otherwise left out of a long picture.
                page.evaluate("scrollTo(0, document.body.scrollHeight)")
                page.screenshot(path=path, full_page=True)
                print(path, flush=True)
            page.set_viewport_size({"width": 1280, "height": WIDTHS[1280]})
            page.evaluate("scrollTo(0, 0)")

        with MirrorServer(mirror) as server:
            walk(page, slipway, server, mirror.keyring_armored.read_text(), shoot)
        walk_esxi(page, Path(folder) / "vmware-esxi.dd.gz", shoot)
        browser.close()
    return 0


def walk(page: Page, slipway: LiveSlipway, server: MirrorServer, keys: str, shoot: Shoot) -> None:
    """Do the main job and take a picture at each stop."""
    page.goto(re.findall(r"http\S+/setup\S+", slipway.output())[-1])
    shoot("setup")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label(re.compile("^Confirm")).fill(PASSWORD)
    page.get_by_role("button", name="Create administrator").click()
    page.get_by_role("heading", name="Overview").wait_for()

    page.goto("/sources/new")
    page.get_by_label("Custom").check()
    page.get_by_label("Mirror URL").fill(server.source_url)
    page.get_by_label("Keyring contents").fill(keys)
    shoot("source-new")
    page.get_by_role("button", name="Connect").click()
    page.get_by_text("Signature verified").wait_for()
    shoot("source-preview")
    page.get_by_role("button", name="Save boot source").click()
    page.get_by_role("link", name="select images").wait_for()
    shoot("source")

    page.goto("/images/")
    for image in ("Ubuntu 24.04 LTS amd64", "Ubuntu 24.04 LTS arm64", "CentOS 7 amd64"):
        page.get_by_role("checkbox", name=re.compile(image)).check()
    page.get_by_text("3 to add, 0 to remove").wait_for()
    shoot("images-selected")
    server.set_faults([Fault(path="squashfs$|root-tgz$", rate=700_000)])
    page.get_by_role("button", name="Update selection").click()
    page.get_by_text("The import has started").wait_for()
    page.goto("/imports/")
    page.get_by_text(re.compile(r"\([1-9]\d? %\)")).first.wait_for()
    shoot("import-running")
    server.set_faults()

    def is_over() -> bool:
        return "No import is running" in page.locator("#current-import").inner_text()

    wait_until(is_over, "the import ends")
    page.goto("/imports/")
    shoot("imports")
    page.goto("/images/")
    shoot("images")
    page.goto("/images/ubuntu/noble/amd64")
    shoot("image")
    walk_steering(page, shoot)
    page.goto("/storage/")
    page.get_by_role("button", name="Check all files now").click()
    page.get_by_text("Last check").wait_for()
    shoot("storage")
    walk_overview(page, slipway.rack_url, shoot)
    server.set_faults([Fault(path="index.sjson$", body="<html>Sign in to the network</html>")])
    page.goto("/sources/1")
    page.get_by_role("button", name="Refresh now").click()
    page.get_by_text("Queued for checking").wait_for()
    page.get_by_text("Queued for checking").wait_for(state="hidden")
    shoot("source-error")


def walk_overview(page: Page, rack_url: str, shoot: Shoot) -> None:
    """The first page after a machine has booted."""
    folder = f"{rack_url}images/ubuntu/amd64/ga-24.04/noble/stable"
    for file in ("boot-kernel", "boot-initrd", "squashfs"):
        requests.get(f"{folder}/{file}", timeout=30).raise_for_status()
    page.goto("/")
    page.locator("#machine-1").wait_for()
    page.reload()  # the week's picture is asked for once a minute
    page.locator(".days").wait_for()
    shoot("overview")


def walk_steering(page: Page, shoot: Shoot) -> None:
    """What will happen and when, what was removed, and the mirror for other sites."""
    page.goto("/images/centos/centos70/amd64/delete")
    page.get_by_role("button", name=re.compile("^Delete")).click()
    page.wait_for_url("**/images/*")
    page.goto("/images/bin/")
    shoot("bin")
    page.goto("/imports/plan")
    shoot("plan")
    page.goto("/imports/timing/")
    shoot("timing")
    page.goto("/sources/offers")
    shoot("offers")
    page.goto("/local-mirror/")
    shoot("mirror")
    page.goto("/images/ubuntu/noble/kernels/")
    shoot("kernels")
    page.goto("/images/rules/new")
    page.get_by_role("button", name="Preview rule").click()
    page.locator("#preview").wait_for()
    shoot("rule")


def walk_esxi(page: Page, file: Path, shoot: Shoot) -> None:
    """Upload an ESXi image, view it, and plan a network with an error and without."""
    file.write_bytes(gzip.compress(disks.small_esxi(), 1, mtime=0))
    page.goto("/uploads/")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("#verdict").get_by_text("VMware ESXi").first.wait_for()
    page.get_by_label("File type").first.select_option("ddtgz")
    page.get_by_role("button", name="Use ddgz").wait_for()
    shoot("upload-mix-up")
    page.get_by_role("button", name="Use ddgz").click()
    page.get_by_text("Type mismatch").wait_for(state="hidden")
    page.get_by_role("button", name="Upload").click()
    page.locator("main").get_by_text("Ready").wait_for()
    shoot("upload")
    page.goto("/vmware/")
    shoot("vmware")
    page.goto("/vmware/network?example=1")
    config = page.get_by_label("Network configuration v1")
    page.get_by_role("button", name="Preview plan").click()
    page.get_by_text("All commands are valid").wait_for()
    shoot("network-plan")
    config.fill(config.input_value().replace("active-backup", "balance-tlb"))
    page.get_by_role("button", name="Preview plan").click()
    page.get_by_text("Host would be unreachable").wait_for()
    shoot("network-error")


if __name__ == "__main__":
    raise SystemExit(main())
