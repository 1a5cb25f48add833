# SPDX-License-Identifier: Apache-2.0
"""The main job: a signed boot source in, verified images stored, machines served.

Real gpg, real boot files, a real Chromium, real processes and plain HTTP.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.mirror import bootfiles
from tests.mirror.maker import Mirror, MirrorItem, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.browser import OpenPage, Watch, reload
from tests.support.live import PASSWORD, LiveSlipway, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Start = Callable[[Mapping[str, str]], LiveSlipway]

SETS = ("ubuntu/amd64/ga-24.04/noble", "ubuntu/amd64/ga-24.04-lowlatency/noble")


@pytest.fixture(scope="module")
def real_mirror(tmp_path_factory: pytest.TempPathFactory, signing_key: signed.SigningKey) -> Mirror:
    return make_mirror(
        tmp_path_factory.mktemp("real"),
        signing_key,
        releases=["noble", "jammy"],
        arches=["amd64", "arm64"],
        sizes={"squashfs": 3 << 20},
        boot_files=bootfiles.find(),
    )


def set_up(page: Page, slipway: LiveSlipway) -> None:
    """Create the first administrator with the link that was printed."""
    link = re.findall(r"http\S+/setup\S+", slipway.output())[-1]
    page.goto(link)
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label(re.compile("^Confirm")).fill(PASSWORD)
    page.get_by_role("button", name="Create administrator").click()
    page.get_by_role("heading", name="Overview").wait_for()


def add_source(page: Page, server: MirrorServer, mirror: Mirror) -> None:
    """Connect, look at the preview, save, and wait for the catalogue."""
    page.get_by_role("link", name="Boot sources").click()
    page.get_by_role("link", name="Add boot source").first.click()
    page.get_by_label("Custom").check()
    page.get_by_label("Mirror URL").fill(server.source_url)
    page.get_by_label("Keyring contents").fill(mirror.keyring_armored.read_text())
    page.get_by_role("button", name="Connect").click()
    page.get_by_text("Signature verified").wait_for()
    grouped = re.sub(r"(.{4})(?=.)", r"\1 ", mirror.key.fingerprint)
    assert page.get_by_text(grouped).count() == 1
    assert page.get_by_role("row", name="Ubuntu 24.04 LTS").get_by_text("amd64, arm64").count()
    page.get_by_role("button", name="Save boot source").click()
    page.get_by_role("link", name="select images").wait_for()


def watch_import(page: Page) -> list[int]:
    """Follow the running import on its page until it is over; returns the percents seen."""
    page.get_by_role("link", name="Imports", exact=True).click()
    seen: list[int] = []

    def is_over() -> bool:
        text = page.locator("#current-import").inner_text()
        seen.extend(int(n) for n in re.findall(r"\((\d+) %\)", text))
        return "No import is running" in text

    wait_until(is_over, "the import ends on the page")
    return seen


def served(slipway: LiveSlipway, path: str) -> requests.Response:
    return requests.get(f"{slipway.rack_url}images/{path}", timeout=30)


def urls_of(items: list[MirrorItem]) -> dict[str, MirrorItem]:
    """Rack path -> the signed item, for what was selected."""
    found = {}
    for item in items:
        if item.ftype == "manifest":
            continue
        if item.os == "ubuntu" and (item.release, item.arch) == ("noble", "amd64"):
            flavour = f"-{item.kflavor}" if item.kflavor not in ("", "generic") else ""
            found[f"ubuntu/amd64/{item.subarch}{flavour}/noble/stable/{item.ftype}"] = item
        elif item.os == "centos" and item.release == "centos70":
            found[f"centos/amd64/generic/centos70/stable/{item.ftype}"] = item
    return found


def test_from_a_signed_source_to_a_machine_and_on_to_the_next_version(
    real_mirror: Mirror, make_live: Start, open_page: OpenPage
) -> None:
    with MirrorServer(real_mirror) as server:
        slipway = make_live({"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"})
        page = open_page(slipway.web_url)
        set_up(page, slipway)
        add_source(page, server, real_mirror)

        page.get_by_role("link", name="select images").click()
        page.get_by_role("checkbox", name=re.compile("Ubuntu 24.04 LTS amd64")).check()
        page.get_by_role("checkbox", name=re.compile("CentOS 7 amd64")).check()
        page.get_by_text("2 to add, 0 to remove").wait_for()
        page.get_by_role("button", name="Update selection").click()
        page.get_by_text("The import has started").wait_for()
        percents = watch_import(page)
        assert percents == sorted(percents)
        assert all(0 <= percent <= 100 for percent in percents)

        page.get_by_role("link", name="Images", exact=True).click()
        row = page.get_by_role("row", name=re.compile("^Ubuntu 24.04 LTS"))
        row.first.get_by_text("Synced").wait_for()

        wanted = urls_of(real_mirror.newest())
        assert {path.rsplit("/", 1)[1] for path in wanted} == {
            "boot-kernel", "boot-initrd", "squashfs", "root-tgz",
        }  # fmt: skip
        for path, item in wanted.items():
            answer = served(slipway, path)
            assert hashlib.sha256(answer.content).hexdigest() == item.sha256, path
            assert answer.headers["ETag"] == f'"{item.sha256}"'
        kernel = served(slipway, "ubuntu/amd64/ga-24.04/noble/stable/boot-kernel").content
        assert kernel == bootfiles.find().kernel.read_bytes()
        assert served(slipway, "ubuntu/arm64/ga-24.04/noble/stable/squashfs").status_code == 404

        machine = Machine(slipway)
        with machine:
            machine.wait_for_rounds(3)
            real_mirror.publish_next()
            page.get_by_role("button", name="Start import").click()
            watch_import(page)
            newest = urls_of(real_mirror.newest())
            wait_until(
                lambda: all(
                    served(slipway, path).headers["ETag"] == f'"{item.sha256}"'
                    for path, item in newest.items()
                ),
                "the new version is served",
            )
            machine.wait_for_rounds(3)
        assert machine.problems == []
        old, new = (
            next(i.serial for p, i in urls.items() if p.startswith(SETS[0]))
            for urls in (wanted, newest)
        )
        assert machine.versions == [old, new]


class Machine:
    """A client that boots in a loop: finds the version, then fetches that version's files."""

    FILES = ("boot-kernel", "boot-initrd", "squashfs")

    def __init__(self, slipway: LiveSlipway) -> None:
        self.base = f"{slipway.rack_url}images/{SETS[0]}/stable/"
        self.problems: list[str] = []
        self.versions: list[str] = []
        self.digests: dict[str, dict[str, str]] = {}
        self.rounds = 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> Machine:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.is_over.set()
        self.thread.join()

    def wait_for_rounds(self, count: int) -> None:
        until = self.rounds + count
        wait_until(lambda: self.rounds >= until, f"{count} more boots", alive=self.thread.is_alive)

    def run(self) -> None:
        with requests.Session() as http:
            while not self.is_over.is_set():
                self.boot(http)
                self.rounds += 1

    def boot(self, http: requests.Session) -> None:
        """Once by plain names (each whole), once pinned (all of one version)."""
        for name in self.FILES:
            self.fetch(http, self.base + name)
        first = http.head(self.base + "boot-kernel", timeout=30)
        version = first.headers["Content-Location"].split("/")[-2]
        if version not in self.versions:
            self.versions.append(version)
        known = self.digests.setdefault(version, {})
        for name in self.FILES:
            digest = self.fetch(http, f"{self.base}{version}/{name}")
            if known.setdefault(name, digest) != digest:
                self.problems.append(f"{version}/{name} changed")

    def fetch(self, http: requests.Session, url: str) -> str:
        answer = http.get(url, timeout=30)
        digest = hashlib.sha256(answer.content).hexdigest()
        if answer.status_code != 200:
            self.problems.append(f"{url}: {answer.status_code}")
        elif answer.headers["ETag"] != f'"{digest}"':
            self.problems.append(f"{url}: {len(answer.content)} bytes are not what the ETag says")
        return digest


def test_the_whole_journey_works_without_javascript(
    tmp_path: Path,
    signing_key: signed.SigningKey,
    make_live: Start,
    open_page: OpenPage,
    watch: Watch,
) -> None:
    watch.allow(409)  # the page asks before the commissioning release goes
    mirror = make_mirror(tmp_path, signing_key, releases=["noble", "jammy"], arches=["amd64"])
    with MirrorServer(mirror) as server:
        slipway = make_live({"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"})
        page = open_page(slipway.web_url, js=False)
        set_up(page, slipway)
        page.goto("/sources/new")
        page.get_by_label("Custom").check()
        page.get_by_label("Mirror URL").fill(server.source_url)
        page.get_by_label("Keyring file").set_input_files(mirror.keyring)
        page.get_by_role("button", name="Connect").click()
        page.get_by_text("Signature verified").wait_for()
        page.get_by_role("button", name="Save boot source").click()

        def is_read() -> bool:
            reload(page)
            return page.get_by_role("link", name="select images").count() == 1

        wait_until(is_read, "the catalogue is read")
        page.goto("/images/")
        page.get_by_role("checkbox", name=re.compile("Ubuntu 24.04 LTS amd64")).check()
        page.get_by_role("button", name="Show changes").click()
        page.get_by_text("1 to add, 0 to remove").wait_for()
        page.get_by_role("button", name="Update selection").click()

        def is_synced() -> bool:
            reload(page)
            return page.get_by_text("Synced").count() > 0

        wait_until(is_synced, "the image is stored")
        box = page.get_by_role("checkbox", name=re.compile("Ubuntu 24.04 LTS amd64"))
        box.uncheck()
        page.get_by_role("button", name="Update selection").click()
        page.get_by_text("stored, moves to the bin").wait_for()
        assert not box.is_checked()
        assert slipway.cli("status", "--json").count('"Synced"') >= 1
        page.get_by_text("Select another LTS release to take its place.").wait_for()
        page.get_by_role("checkbox", name=re.compile("Ubuntu 22.04 LTS amd64")).check()
        page.get_by_role("button", name="Show changes").click()
        page.get_by_text("1 to add, 1 to remove").wait_for()
        page.get_by_role("button", name="Commission with jammy instead").click()
        page.get_by_text("Selection updated").wait_for()

        def is_gone() -> bool:
            reload(page)
            return (
                page.get_by_role("row", name=re.compile("^Ubuntu 24.04 LTS.*Delete")).count() == 0
            )

        wait_until(is_gone, "the image is gone")
