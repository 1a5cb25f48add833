# SPDX-License-Identifier: Apache-2.0
"""Thousands of idle and slow connections, path tricks and nonsense at a rack that serves others."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack, received, request
from tests.rack.test_tricks import NUMBER, tricks
from tests.support.databases import Databases
from tests.torture.conftest import Show, scaled
from tests.torture.test_slow_clients import CONTENT, dripping, ratio, waits

IDLE = scaled(5000, 200)
TRICKS = scaled(NUMBER, 250)
HOSTILE = "127.0.9.1"
METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X")
LONG = "a" * (1 << 20)
HUGE = (
    request(f"/{LONG}"),
    request(f"{BASE}/squashfs", f"X-Long: {LONG}"),
    request(f"{BASE}/squashfs", *["X-Many: 1"] * 20_000),
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=["gunicorn", "nginx"])
def rack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[LiveRack]:
    folder = tmp_path_factory.mktemp("rack")
    settings = {"rack_workers": 2, "rack_threads": 128, "rack_engine": request.param}
    with LiveRack(folder, sqlite_databases.migrated(), **settings) as running:
        with running.app.app_context():
            images.image({**images.FILES, "root-img": CONTENT})
        yield running


def ask(rack: LiveRack, data: bytes) -> tuple[int, bytes]:
    """The status and the body that come; 0 when there is no head, as before HTTP/1.0."""
    answer = bytearray()
    with rack.connection(HOSTILE) as sock, suppress(ConnectionError):
        sock.sendall(data)
        answer += received(sock)
    if not answer.startswith(b"HTTP/"):
        return 0, bytes(answer)
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return int(head.split(None, 2)[1]), body


def nonsense() -> Iterator[bytes]:
    """Tricks as a client that escapes nothing sends them, methods and huge heads."""
    for path in itertools.islice(tricks(), 0, NUMBER, NUMBER // TRICKS):
        yield f"GET {path} HTTP/1.1\r\nHost: rack\r\nConnection: close\r\n\r\n".encode()
    for method in METHODS:
        yield request(f"{BASE}/squashfs", method=method)
    yield from HUGE


def test_a_hostile_machine_gets_nothing_and_holds_up_no_one(rack: LiveRack, show: Show) -> None:
    harmless = {*images.FILES.values(), CONTENT, b"", b"Bad Request.\n"}
    harmless |= {ask(rack, request(path))[1] for path in ("/nothing", f"{BASE}/nothing")}
    small = (f"{BASE}/boot-kernel", images.FILES["boot-kernel"])
    seen: Counter[int] = Counter()
    outside: set[bytes] = set()
    waits(rack, *small)
    alone = waits(rack, *small)
    with ExitStack() as held:
        idle = []
        for number in range(IDLE):
            sock = held.enter_context(rack.connection(f"127.0.8.{1 + number % 60}"))
            if number % 2:  # the others say nothing at all
                sock.sendall(f"GET {BASE}/squashfs HTTP/1.1\r\nX-".encode())
            idle.append(sock)
        with dripping(idle):
            beside = waits(rack, *small)
            for data in nonsense():
                status, body = ask(rack, data)
                seen[status] += 1
                # Before HTTP/1.0, which nginx answers, a refusal has no head.
                is_refused = status >= 400 or b"<title>400 Bad Request" in body
                if not is_refused and body not in harmless:
                    outside.add(body[:500])
            beside += waits(rack, *small)
    show(
        f"{IDLE} idle or dripping connections, {sum(seen.values())} hostile requests",
        answers=", ".join(f"{status or 'none'} {count}" for status, count in seen.items()),
        files_outside_the_map=len(outside),
        p95_ratio_of_others=ratio(beside, alone),
    )
    assert outside == set()
    assert not [status for status in seen if status >= 500], seen
