# SPDX-License-Identifier: Apache-2.0
"""The TFTP server as it runs, and a client that drops packets (rule: tftp-options)."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.rack import images
from tests.rack.tftp import Server
from tests.support import live
from tests.support.databases import Databases
from tests.support.ports import keep_port
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import Event
from webapp.rack.tftp_names import Content
from webapp.rack.tftp_packets import ReadRequest
from webapp.rack.tftp_transfer import Transfer
from webapp.server import tftp
from webapp.services.boot import table

ROOT = random.Random(3).randbytes(300_000)
BASE = "images/ubuntu/amd64/ga-24.04/noble/stable"
CURL = shutil.which("curl")


@pytest.fixture(scope="module", params=["filesystem", "database"])
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tftp")
    values = {
        "SLIPWAY_DATA_DIR": str(folder),
        "SLIPWAY_DATABASE_URL": sqlite_databases.migrated(),
        "SLIPWAY_STORE": request.param,
        "SLIPWAY_SECRET_KEY": "a key for tests and for nothing else",
    }
    app = create_app(Settings.load(values), plane="rack")
    with app.app_context():
        images.image({**images.FILES, "squashfs": ROOT})
        table.set_entry("ada", "default", "ubuntu/noble", arch="amd64")
        db.session.remove()
        with Server(app) as running:
            yield running
        app.extensions["slipway.rack"].close()
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize(
    "options",
    [{}, {"blksize": 1432, "tsize": 0}, {"blksize": 1468, "windowsize": 16}, {"blksize": 8192}],
    ids=["plain", "ipxe", "window", "large"],
)
def test_files_arrive_whole(server: Server, options: dict[str, int]) -> None:
    assert server.get(f"{BASE}/squashfs", **options) == ROOT
    assert server.get(f"/{BASE}/boot-kernel", **options) == images.FILES["boot-kernel"]


def test_files_arrive_whole_though_a_fifth_of_the_packets_is_lost(server: Server) -> None:
    got = server.get(f"{BASE}/boot-kernel", loss=0.2)
    assert got == images.FILES["boot-kernel"]
    got = server.get(f"{BASE}/squashfs", loss=0.02, blksize=1468, windowsize=32, timeout=1)
    assert hashlib.sha256(got).digest() == hashlib.sha256(ROOT).digest()


def test_configurations_name_the_rack_by_the_address_that_was_asked(server: Server) -> None:
    text = server.get("pxelinux.cfg/default").decode()
    assert "KERNEL http://127.0.0.1:5248/images/ubuntu/amd64/ga-24.04/noble/stable/" in text
    assert server.get("//grub/grub.cfg").startswith(b"configfile /grub/")


@pytest.mark.parametrize(
    "name",
    ["nothing", f"{BASE}/nothing", "images/", "../../etc/passwd", "/etc/passwd", "images/../x",
     f"{BASE}/squashfs/..", f"{BASE}\\squashfs", "mirror/gpg.key", "\xff\xfe"],
)  # fmt: skip
def test_names_that_are_not_in_the_map_are_not_found(server: Server, name: str) -> None:
    assert server.get(name) == b"There is nothing here."


def test_nothing_is_written(server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.sendto(b"\0\2evil\0octet\0", ("127.0.0.1", server.port))
        assert sock.recv(600) == b"\0\5\0\2This server is read only.\0"


def test_two_hundred_machines_at_once_get_the_right_bytes(server: Server) -> None:
    with ThreadPoolExecutor(200) as pool:
        found = list(
            pool.map(
                lambda n: server.get(f"{BASE}/squashfs", source=f"127.0.1.{n}", windowsize=8),
                range(1, 201),
            )
        )
    assert {hashlib.sha256(one).digest() for one in found} == {hashlib.sha256(ROOT).digest()}


def test_one_address_cannot_take_the_places_of_others(server: Server) -> None:
    silent = []
    try:
        for _ in range(3 * tftp.MAX_PER_ADDRESS):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.2.1", 0))
            sock.sendto(f"\0\1{BASE}/squashfs\0octet\0".encode(), ("127.0.0.1", server.port))
            silent.append(sock)
        got = server.get(f"{BASE}/boot-kernel", source="127.0.2.2")
        assert got == images.FILES["boot-kernel"]
        taken = [peer for peer in server.server._running if peer[0] == "127.0.2.1"]
        assert len(taken) <= tftp.MAX_PER_ADDRESS
    finally:
        for sock in silent:
            sock.close()


@pytest.mark.parametrize("source", ["127.0.4.1", "127.0.4.9"], ids=["own", "another"])
def test_the_most_silent_make_room(
    server: Server, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that nobody waits for keeps its place only until someone else needs it."""
    monkeypatch.setattr(tftp, "MAX_TRANSFERS", 20)
    running = server.server._running
    silent = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    try:
        live.wait_until(lambda: not running, "earlier transfers have ended")
        for number, sock in enumerate(silent):
            sock.bind((f"127.0.4.{1 + number // tftp.MAX_PER_ADDRESS}", 0))
            sock.sendto(f"\0\1{BASE}/squashfs\0octet\0".encode(), ("127.0.0.1", server.port))
        live.wait_until(
            lambda: len(running) == 20 and all(one.transfer.tries for one in [*running.values()]),
            "nobody answers",
        )
        first = min([*running.values()], key=lambda one: one.heard).peer
        assert server.get(f"{BASE}/boot-kernel", source=source) == images.FILES["boot-kernel"]
        assert source == "127.0.4.1" or first not in running
    finally:
        for sock in silent:
            sock.close()


def test_a_file_becomes_an_event(server: Server) -> None:
    server.get(f"{BASE}/boot-initrd", source="127.0.3.1")
    recorder = server.app.extensions["slipway.rack"].recorder

    def subjects() -> list[str]:
        recorder.flush()
        db.session.rollback()
        return list(
            db.session.scalars(
                select(Event.subject).where(
                    Event.actor == "127.0.3.1", Event.kind == "image.fetched"
                )
            )
        )

    live.wait_until(lambda: bool(subjects()), "the event")
    assert subjects() == [BASE.removeprefix("images/")]


def test_a_machine_that_only_asks_for_the_size_has_fetched_nothing(server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.bind(("127.0.3.2", 0))
        request = f"\0\1{BASE}/boot-initrd\0octet\0tsize\x000\0".encode()
        sock.sendto(request, ("127.0.0.1", server.port))
        answer, peer = sock.recvfrom(600)
        assert answer == b"\0\6tsize\x00%d\0" % len(images.FILES["boot-initrd"])
        sock.sendto(b"\0\5\0\x08enough\0", peer)
    server.get(f"{BASE}/boot-kernel", source="127.0.3.3")
    recorder = server.app.extensions["slipway.rack"].recorder

    def actors() -> set[str]:
        recorder.flush()
        db.session.rollback()
        return set(db.session.scalars(select(Event.actor).where(Event.kind == "image.fetched")))

    live.wait_until(lambda: "127.0.3.3" in actors(), "the event of the machine after it")
    assert "127.0.3.2" not in actors()


def test_one_machine_that_floods_the_server_leaves_others_their_turn(server: Server) -> None:
    idle = tftp.TftpServer(server.server._listener, server.server._names, "5248")
    content = Content(2000, lambda at, length: bytes(length), lambda sent: None)
    transfer = Transfer(ReadRequest("x", {}), content.size, content.read)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(("127.0.0.1", 0))
        ours.setblocking(False)
        for _ in range(tftp.MAX_TURN + 1):
            theirs.sendto(b"junk", ours.getsockname())
        running = tftp._Running(theirs.getsockname(), ours, content, transfer, 0)
        idle._running[running.peer] = running
        idle._receive(running)
        assert ours.recv(9) == b"junk", "it's still there"


SERVE = """
import os
from webapp.config import Settings
from webapp.server import tftp
settings = Settings.load(os.environ)
tftp.run_tftp(settings, tftp.listen(settings))
"""


def _has_answered(bind: str) -> bool:
    host, _, port = bind.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect((host, int(port)))
        with suppress(OSError):
            sock.send(b"\0\1nothing\0octet\0")
            return sock.recv(600).startswith(b"\0\5")
    return False


def test_a_thousand_machines_may_have_a_file_and_a_socket_each(
    tmp_path: Path, sqlite_databases: Databases
) -> None:
    environ = {
        **os.environ,
        "SLIPWAY_DATA_DIR": str(tmp_path),
        "SLIPWAY_DATABASE_URL": sqlite_databases.migrated(),
        "SLIPWAY_TFTP_BIND": f"127.0.0.1:{keep_port()}",
    }
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    few = ["prlimit", f"--nofile=200:{hard}"]
    running = subprocess.Popen([*few, sys.executable, "-c", SERVE], env=environ)
    try:
        live.wait_until(lambda: _has_answered(environ["SLIPWAY_TFTP_BIND"]), "an answer")
        assert resource.prlimit(running.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        running.kill()
        running.wait()


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_curl_reads_files(server: Server, tmp_path: Path) -> None:
    for words in ([], ["--tftp-blksize", "1400"], ["--tftp-no-options"]):
        file = tmp_path / "root"
        url = f"tftp://127.0.0.1:{server.port}/{BASE}/squashfs"
        subprocess.run([str(CURL), "-fsS", *words, "-o", file, url], check=True)
        assert file.read_bytes() == ROOT
