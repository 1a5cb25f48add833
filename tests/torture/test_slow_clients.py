# SPDX-License-Identifier: Apache-2.0
"""How long others wait beside hundreds of slow clients, as a ratio to the time without them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack, request
from tests.support import databases
from tests.torture.conftest import Show, scaled
from tests.web.test_slow_clients import FORM, LiveWeb

SENDERS = scaled(200, 20)
READERS = scaled(240, 24)
ROUNDS = scaled(12, 1)
SAMPLES = scaled(40, 10)
DRIP_S = 20.0  # between two bytes of a slow client
CONTENT = bytes(range(256)) * (16 << 10)  # 4 MiB: more than sockets hold

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def dripping(socks: list[socket.socket]) -> Iterator[None]:
    """Each connection sends one byte every DRIP_S; those that were closed stay closed."""
    is_over = threading.Event()

    def drip() -> None:
        while not is_over.wait(DRIP_S / len(socks)):
            sock = socks.pop(0)
            with suppress(OSError):
                sock.send(b"u")
            socks.append(sock)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def waits(server: LiveRack, path: str, ending: bytes) -> list[float]:
    """Seconds that others wait for an answer, each on a connection of its own."""
    times = []
    for number in range(SAMPLES):
        start = time.perf_counter()
        answer = server.say(request(path), f"127.0.2.{1 + number % 8}")
        times.append(time.perf_counter() - start)
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        assert answer.rstrip().endswith(ending)
    return times


def p95(times: list[float]) -> float:
    return sorted(times)[len(times) * 95 // 100]


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: databases.Databases
) -> Iterator[LiveWeb]:
    """Pages with the usual processes and threads; a stranger's first page is the sign-in form."""
    folder: Path = tmp_path_factory.mktemp("web")
    with LiveWeb(folder, sqlite_databases.migrated(), web_workers=2) as running:
        with running.app.app_context():
            from webapp.models import Role
            from webapp.services.accounts import users

            users.create_user("maria", "correct horse battery staple", Role.ADMINISTRATOR)
        yield running


@pytest.fixture(scope="module")
def rack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: databases.Databases
) -> Iterator[LiveRack]:
    folder: Path = tmp_path_factory.mktemp("rack")
    settings = {"rack_workers": 2, "rack_threads": 128}
    with LiveRack(folder, sqlite_databases.migrated(), **settings) as running:
        with running.app.app_context():
            images.image({"squashfs": CONTENT, "boot-kernel": b"kernel"})
        yield running


@contextmanager
def slow_forms(web: LiveWeb, addresses: int) -> Iterator[None]:
    with ExitStack() as held:
        socks = []
        for number in range(SENDERS):
            sock = held.enter_context(web.connection(f"127.0.1.{1 + number % addresses}"))
            sock.sendall(request("/sign-in", FORM, "Content-Length: 500", method="POST") + b"u")
            socks.append(sock)
        with dripping(socks):
            yield


@pytest.mark.parametrize("addresses", [1, 8])
def test_pages_beside_slow_forms(addresses: int, web: LiveWeb, show: Show) -> None:
    page = ("/sign-in", b"</html>")
    alone, beside = [], []
    for _ in range(ROUNDS):  # in turns, since the machine has other work, too
        waits(web, *page)  # warm, and done with the slow ones that have just left
        alone += waits(web, *page)
        with slow_forms(web, addresses):
            beside += waits(web, *page)
    what = f"pages beside {SENDERS} slow forms, addresses: {addresses}"
    show(what, p95_ratio=ratio(beside, alone))


@contextmanager
def slow_machines(rack: LiveRack) -> Iterator[None]:
    """Machines of three addresses that have begun to get a file and don't read on."""
    with ExitStack() as held:
        for number in range(READERS):
            sock = held.enter_context(rack.connection(f"127.0.1.{1 + number % 3}", receive=4096))
            sock.sendall(request(f"{BASE}/squashfs"))
            assert sock.recv(12) == b"HTTP/1.1 200"
        yield


def test_machines_beside_slow_machines(rack: LiveRack, show: Show) -> None:
    small, large = (f"{BASE}/boot-kernel", b"kernel"), (f"{BASE}/squashfs", CONTENT[-100:])
    times: list[list[float]] = [[], [], [], []]
    for _ in range(ROUNDS):
        waits(rack, *small)  # as above
        times[0] += waits(rack, *small)
        times[1] += waits(rack, *large)
        with slow_machines(rack):
            times[2] += waits(rack, *small)
            times[3] += waits(rack, *large)
    show(
        f"machines beside {READERS} slow ones of 3 addresses",
        slow_ones_without_an_answer=0,
        p95_ratio_of_a_small_file=ratio(times[2], times[0]),
        p95_ratio_of_4_MiB=ratio(times[3], times[1]),
    )


def ratio(beside: list[float], alone: list[float]) -> str:
    """Two figures in one line: the ratio, and what it's made of."""
    return f"{p95(beside) / p95(alone):.2f} ({p95(beside):.4f} s to {p95(alone):.4f} s)"
