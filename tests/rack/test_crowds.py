# SPDX-License-Identifier: Apache-2.0
"""What one address can take from the rack, whichever engine sends: connections and time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import socket

import pytest

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack, received, request
from tests.rack.test_engines import ENGINES
from tests.support import live
from tests.support.databases import Databases
from webapp.server import crowds

CONTENT = bytes(range(256)) * (64 << 10)  # 16 MiB: more than sockets hold
MOST = 10
GREEDY = "127.0.0.9"
# The program, with seconds in place of its minutes.
IMPATIENT = """
import sys
from webapp.server import incoming, planes, sending
incoming.HEAD_S, planes.KEEPALIVE_S, planes.STALL_S, sending.STALL_S = 1.0, 2, 2, 2.0
from webapp.cli.main import main
main()
"""


def impatient(
    args: list[str], env: Mapping[str, str], log: Path, **_: object
) -> subprocess.Popen[bytes]:
    command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-c", IMPATIENT, *args]
    with log.open("ab") as out:
        return subprocess.Popen(command, env=dict(env), stdout=out, stderr=out)


@contextmanager
def running(folder: Path, databases: Databases, **settings: object) -> Iterator[LiveRack]:
    rack = LiveRack(
        folder, databases.migrated(), rack_connections=MOST, rack_threads=32, **settings
    )
    if "impatient" in folder.name:
        rack.launch = impatient
    with rack.app.app_context():
        images.image({"squashfs": CONTENT, "boot-kernel": b"kernel"})
    with rack:
        yield rack


@pytest.fixture(scope="module", params=ENGINES)
def rack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[LiveRack]:
    folder = tmp_path_factory.mktemp("patient")
    with running(folder, sqlite_databases, **ENGINES[request.param]) as rack:
        yield rack


@pytest.fixture(scope="module", params=ENGINES)
def impatient_rack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[LiveRack]:
    folder = tmp_path_factory.mktemp("impatient")
    with running(folder, sqlite_databases, **ENGINES[request.param]) as rack:
        yield rack


def is_open(rack: LiveRack, sock: socket) -> bool:
    """Whether the rack has this connection still."""
    theirs, ours = f":{rack.port:04X}", f":{sock.getsockname()[1]:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    established = {(row[1][-5:], row[2][-5:]) for row in rows if row[3] == "01"}
    return (theirs, ours) in established


def begun(rack: LiveRack, held: ExitStack, source: str) -> bytes:
    """The start of the answer to one who reads no further."""
    sock = held.enter_context(rack.connection(source, receive=4096))
    sock.sendall(request(f"{BASE}/squashfs"))
    return sock.recv(12)


def kernel(rack: LiveRack, source: str) -> bytes:
    return rack.say(request(f"{BASE}/boot-kernel"), source)


def test_an_address_has_so_many_connections_and_others_have_theirs(rack: LiveRack) -> None:
    with ExitStack() as held:
        assert [begun(rack, held, GREEDY) for _ in range(MOST)] == [b"HTTP/1.1 200"] * MOST
        for _ in range(3):
            answer = kernel(rack, GREEDY)
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"\r\nRetry-After: 5\r\n" in answer
            assert answer.endswith(b"\r\n\r\nToo Many Connections.\n")
        for source in ("127.0.0.10", live.HOST):
            assert kernel(rack, source).endswith(b"kernel")
        live.wait_until(lambda: f"address={GREEDY}" in rack.log.read_text(), "a line of the log")
    live.wait_until(lambda: kernel(rack, GREEDY).endswith(b"kernel"), "there is room again")


def test_this_machine_speaks_for_many(rack: LiveRack) -> None:
    with ExitStack() as held:
        for _ in range(MOST + 5):
            assert begun(rack, held, live.HOST) == b"HTTP/1.1 200"


def test_a_crowd_that_goes_on_harms_no_one_else(rack: LiveRack) -> None:
    """One that waits for no answer, with far more connections than it may have."""
    with ExitStack() as held:
        for _ in range(12 * MOST):
            sock = held.enter_context(rack.connection("127.0.0.11", receive=4096))
            with suppress(ConnectionError):
                sock.sendall(request(f"{BASE}/squashfs"))
        assert rack.say(request(f"{BASE}/squashfs"), "127.0.0.12").endswith(CONTENT)


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(b"", id="a head that doesn't begin"),
        pytest.param(f"GET {BASE}/squashfs HTTP/1.1\r\nX-".encode(), id="a head without an end"),
        pytest.param(
            request("/", "Content-Length: 500", method="POST"), id="a body that doesn't come"
        ),
        pytest.param(
            request("/", "Transfer-Encoding: chunked", method="POST"), id="no chunk of a body"
        ),
        pytest.param(request(f"{BASE}/squashfs"), id="a reader that reads nothing"),
        pytest.param(
            request(f"{BASE}/boot-kernel").replace(b"close", b"keep-alive"), id="no next request"
        ),
    ],
)
def test_no_one_waits_for_what_does_not_come(begin: bytes, impatient_rack: LiveRack) -> None:
    with impatient_rack.connection(GREEDY, receive=4096) as sock:
        sock.sendall(begin)
        live.wait_until(lambda: not is_open(impatient_rack, sock), "the rack closes it")


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(f"GET {BASE}/squashfs HTTP/1.1\r\nX-".encode(), id="a head"),
        pytest.param(request("/", "Content-Length: 500", method="POST"), id="a body"),
    ],
)
def test_what_comes_in_drops_has_no_more_time(begin: bytes, impatient_rack: LiveRack) -> None:
    with impatient_rack.connection(GREEDY) as sock:
        sock.sendall(begin)

        def is_closed() -> bool:
            with suppress(ConnectionError):
                sock.send(b"u")
            return not is_open(impatient_rack, sock)

        live.wait_until(is_closed, "the rack closes it")


@pytest.mark.parametrize("field", ["Content-Length: 500000", "Transfer-Encoding: chunked"])
def test_an_answer_waits_for_no_body(field: str, rack: LiveRack) -> None:
    asked = request(f"{BASE}/boot-kernel", field, 'If-None-Match: "old"')
    with rack.connection(GREEDY) as sock:
        sock.sendall(asked)
        assert received(sock).endswith(b"kernel")


def test_the_log_tells_of_an_address_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(crowds.time, "monotonic", lambda: now)
    told: list[str] = []
    monkeypatch.setattr(crowds.log, "warning", lambda _, **more: told.append(more["address"]))
    refusals = crowds.Refusals(MOST)
    for _ in range(3):
        refusals.note("192.0.2.1")
        refusals.note("192.0.2.2")
    assert told == ["192.0.2.1", "192.0.2.2"]
    now += crowds.QUIET_S
    refusals.note("192.0.2.1")
    assert told[2:] == ["192.0.2.1"]
    for number in range(2 * crowds.MOST_TOLD):
        refusals.note(f"address {number}")
    assert len(told) < 3 + crowds.MOST_TOLD
