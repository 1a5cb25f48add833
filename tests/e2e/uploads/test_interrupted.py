# SPDX-License-Identifier: Apache-2.0
"""Uploads in a real browser: paused, reloaded, damaged, cut and continued."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.test_main_job import set_up
from tests.e2e.uploads.disk import CALM, Start, raw_disk
from tests.support import disks
from tests.support.browser import OpenPage, Watch, axe
from tests.support.live import ADMIN, PASSWORD, SLIPWAY, LiveSlipway, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response, Route


pytestmark = [pytest.mark.browser, pytest.mark.slow]

# `make torture` sends 2 GiB; otherwise the same hundred cuts come closer together.
SIZE, MOST_BETWEEN_CUTS = (
    (2 << 30, 30 << 20) if os.environ.get("TORTURE") else (768 << 20, 20 << 20)
)


def slow_down(page: Page, bytes_per_s: int) -> None:
    """Let the browser send no faster, so that there is something to pause on any machine."""
    session = page.context.new_cdp_session(page)
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    session.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": bytes_per_s})


def is_served(slipway: LiveSlipway, name: str, digest: str) -> bool:
    """Whether machines get exactly these bytes."""
    return fetched(slipway, name) == digest


def fetched(slipway: LiveSlipway, name: str, page: Page | None = None) -> str:
    """The SHA-256 of what a machine gets, as soon as it gets it.

    page: goes on meanwhile; what a test routes or notes of it stands still otherwise.
    """
    found: list[str] = []

    def fetch() -> bool:
        if page is not None:
            page.wait_for_timeout(100)
        try:
            answer = urllib.request.urlopen(f"{slipway.rack_url}images/{name}", timeout=60)
        except urllib.error.HTTPError:
            return False
        with answer:
            found.append(hashlib.file_digest(answer, "sha256").hexdigest())
        return True

    wait_until(fetch, "the rack has the image")
    return found[0]


@pytest.mark.timeout(400)
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
    slow_down(page, 40 << 20)
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("main").get_by_text("Not compressed, GPT disk of 160 MiB").wait_for()
    expect(page.get_by_label("Name", exact=True).first).to_have_value("lab-disk")
    expect(page.get_by_label("File type").first).to_have_value("ddraw")
    page.get_by_label("Name", exact=True).first.fill("lab")
    page.get_by_role("button", name="Upload").click()
    page.locator("#sent-note").get_by_text("/s").wait_for()
    page.get_by_role("button", name="Pause").click()
    page.locator("main").get_by_text("Paused.").wait_for()
    assert "/s" not in page.locator("#sent-note").inner_text()
    page.reload()  # as if the tab had been closed
    page.locator("main").get_by_text("Incomplete").wait_for()
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("main").get_by_text("GPT disk of 160 MiB").wait_for()
    page.get_by_label("Name", exact=True).first.fill("lab")
    page.get_by_role("button", name="Upload").click()
    page.locator("main").get_by_text("Ready", exact=True).wait_for()
    digest = hashlib.sha256(data).hexdigest()
    assert page.locator("main").get_by_text(digest).count() == 1
    assert fetched(slipway, "custom/amd64/generic/lab/uploaded/root-dd.raw") == digest
    axe(page)
    file.write_bytes(data[:-1] + b"x")
    begin(page, file, "unwanted")
    page.locator("#sent-note").get_by_text("/s").wait_for()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#uploads")).not_to_contain_text("unwanted")
    expect(page.get_by_label("File", exact=True)).to_be_visible()


def begin(page: Page, file: Path, name: str) -> None:
    """Choose a file, name it, and begin to send it."""
    page.goto("/uploads/")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.locator("main").get_by_text("GPT disk of").first.wait_for()
    page.get_by_label("Name", exact=True).first.fill(name)
    page.get_by_role("button", name="Upload").click()


@pytest.mark.timeout(400)
def test_a_damaged_piece_is_sent_again_and_known_bytes_not_at_all(
    tmp_path: Path, make_live: Start, open_page: OpenPage, watch: Watch
) -> None:
    watch.allow(460)
    slipway = make_live(CALM)
    page = open_page(slipway.web_url)
    set_up(page, slipway)
    data = raw_disk(20 << 20)
    file = tmp_path / "disk.raw"
    file.write_bytes(data)
    checksums: list[str] = []
    answers: list[int] = []

    def damage_the_second(route: Route) -> None:
        headers = route.request.headers
        checksums.append(headers.get("upload-checksum", ""))
        if len(checksums) == 2:
            route.continue_(post_data=bytes(int(headers.get("content-length", 8 << 20))))
        else:
            route.continue_()

    def note(answer: Response) -> None:
        if answer.request.method == "PATCH":
            answers.append(answer.status)

    page.route(lambda url: "/uploads/files/" in url, damage_the_second)
    page.on("response", note)
    begin(page, file, "first")
    page.locator("main").get_by_text("Ready", exact=True).wait_for()
    assert answers == [204, 460, 204, 204]
    piece = 8 << 20
    expected = [
        "sha256 " + base64.b64encode(hashlib.sha256(data[at : at + piece]).digest()).decode()
        for at in (0, piece, piece, 2 * piece)
    ]
    assert [one for one in checksums if one] == expected
    whole = hashlib.sha256(data).hexdigest()
    assert fetched(slipway, "custom/amd64/generic/first/uploaded/root-dd.raw") == whole
    answers.clear()
    begin(page, file, "twin")
    name = "custom/amd64/generic/twin/uploaded/root-dd.raw"
    assert fetched(slipway, name, page) == whole
    assert answers == []


@pytest.mark.timeout(400)
def test_a_restarted_server_continues_uploads(tmp_path: Path, make_live: Start) -> None:
    """The command line meets a server that dies on it again and again."""
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
    wait_until(lambda: '"receiving"' in slipway.cli("upload", "list", "--json"), "it has begun")
    chance = random.Random(7)
    for _ in range(3):
        time.sleep(0.2 + chance.random())
        if sending.poll() is not None:
            break
        before = slipway.pids("web")
        if before:
            slipway.kill("web")
            slipway.wait_for("web", other_than=before)
    output, _ = sending.communicate(timeout=300)
    assert sending.returncode == 0, output.decode()
    digest = hashlib.sha256(data).hexdigest()
    wait_until(
        lambda: fetched(slipway, "custom/amd64/generic/lab/uploaded/root-dd.raw") == digest,
        "the image is served",
    )


class Scissors:
    """A TCP proxy that cuts connections after random numbers of bytes, so many times."""

    def __init__(self, port: int, cuts: int, most: int) -> None:
        self._port, self.left = port, cuts
        self._chance = random.Random(11)
        self._most = most
        self._lock = threading.Lock()
        self.sent = 0  # bytes towards the server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=self._back, args=(server, client), daemon=True)
            back.start()
            budget = self._budget()
            try:
                while data := client.recv(1 << 16):
                    if budget is not None and len(data) > budget:
                        server.sendall(data[:budget])
                        self.sent += budget
                        with self._lock:
                            self.left -= 1
                        for end in (client, server):
                            end.shutdown(socket.SHUT_RDWR)  # wakes the other thread
                        return
                    server.sendall(data)
                    self.sent += len(data)
                    budget = None if budget is None else budget - len(data)
            except OSError:
                return

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(1 << 16):
                client.sendall(data)
        except OSError:
            return

    def _budget(self) -> int | None:
        with self._lock:
            return self._chance.randrange(20_000, self._most) if self.left > 0 else None

    def close(self) -> None:
        self._listener.close()


@pytest.mark.timeout(600)
def test_an_upload_survives_a_hundred_cuts(
    tmp_path: Path, make_live: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most one piece is sent again for each cut, and the server stays small."""
    slipway = make_live(CALM)
    slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    token = tmp_path / "token"
    token.write_text(slipway.cli("admin", "token", ADMIN, "--scope", "all"))
    size, piece = SIZE, 8 << 20
    file, digest = tmp_path / "disk.raw", hashlib.sha256()
    table = disks.gpt_disk(size, [disks.Part(1, disks.LINUX, 2048, size // 512 - 40)], keep=1 << 20)
    block = bytearray(random.Random(3).randbytes(1 << 20))
    with file.open("wb") as out:
        for number in range(size >> 20):
            block[:8] = number.to_bytes(8, "big")
            data: bytes = bytes(block)
            if number == 0:
                data = table
            if number == (size >> 20) - 1:
                data = data[: -len(_tail(size))] + _tail(size)
            digest.update(data)
            out.write(data)
    scissors = Scissors(slipway.web_port, 100, MOST_BETWEEN_CUTS)
    try:
        sent = subprocess.run(
            [
                *(SLIPWAY, "upload", file, "--name", "lab", "--filetype", "ddraw"),
                *("--token-file", token, "--url", f"http://127.0.0.1:{scissors.port}/"),
            ],
            env=slipway.env,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert sent.returncode == 0, sent.stderr
    finally:
        scissors.close()
    cuts = 100 - scissors.left
    assert cuts >= 90
    assert scissors.sent <= size + cuts * piece + (16 << 20)
    name = "custom/amd64/generic/lab/uploaded/root-dd.raw"
    wait_until(lambda: fetched(slipway, name) == digest.hexdigest(), "the image is served")
    memory = max(_peak(pid) for pid in slipway.pids("web"))
    with capsys.disabled():
        times = scissors.sent / size
        print(f"\n{size >> 20} MiB, {cuts} cuts: sent {times:.2f} times, {memory} MiB at most")
    assert memory <= 150


def _tail(size: int) -> bytes:
    """The second partition table of that disk."""
    head = disks.gpt_disk(size, [disks.Part(1, disks.LINUX, 2048, size // 512 - 40)], keep=34 * 512)
    entries = head[1024:]
    last = size // 512 - 1
    return entries + disks.gpt_header(last, 1, last - 32, entries, last - 33)


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024


@pytest.mark.timeout(300)
def test_two_uploads_at_once_do_not_mix(tmp_path: Path, make_live: Start) -> None:
    slipway = make_live(CALM)
    slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    token = tmp_path / "token"
    token.write_text(slipway.cli("admin", "token", ADMIN, "--scope", "all"))
    files = {}
    for number in range(2):
        file = tmp_path / f"{number}.raw"
        file.write_bytes(raw_disk((60 + number) << 20))
        files[f"n{number}"] = file
    sending = [
        subprocess.Popen(
            [SLIPWAY, "upload", str(file), "--name", name, "--filetype", "ddraw",
             "--url", slipway.web_url, "--token-file", str(token)],
            env=slipway.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for name, file in files.items()
    ]  # fmt: skip
    for one in sending:
        output, _ = one.communicate(timeout=200)
        assert one.returncode == 0, output.decode()
    for name, file in files.items():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        path = f"custom/amd64/generic/{name}/uploaded/root-dd.raw"
        wait_until(partial(is_served, slipway, path, digest), "it is served")
