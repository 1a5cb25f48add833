# SPDX-License-Identifier: Apache-2.0
"""gunicorn as the rack, which answers as test_engines.py says: clients that behave badly."""

from __future__ import annotations

import http.client
import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import select

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack, received, request
from tests.rack.test_tricks import tricks
from tests.support import commands, live
from tests.support.databases import Databases
from webapp.extensions import db
from webapp.models import BootResource, Event

SIZE = 3_000_000
ROOT = random.Random(5).randbytes(SIZE)
FILES = {**images.FILES, "squashfs": ROOT, "root-tgz": b""}


@pytest.fixture(scope="module", params=["filesystem", "database"])
def rack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[LiveRack]:
    """A rack with eight threads, of which one address gets six."""
    folder = tmp_path_factory.mktemp("rack")
    rack = LiveRack(folder, sqlite_databases.migrated(), store=request.param)
    with rack.app.app_context():
        images.image(FILES)
    with rack:
        yield rack


def fetch(
    rack: LiveRack, path: str, method: str = "GET", source: str = live.HOST, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request by a client that checks the framing."""
    connection = http.client.HTTPConnection(
        live.HOST, rack.port, timeout=60, source_address=(source, 0)
    )
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def is_well(rack: LiveRack, source: str = live.HOST) -> bool:
    answer, body = fetch(rack, f"{BASE}/boot-kernel", source=source)
    return (answer.status, body) == (200, FILES["boot-kernel"])


def test_connection_is_a_list_and_a_run_of_slashes_is_one(rack: LiveRack) -> None:
    plain = request(f"/{BASE}///boot-kernel")
    for value in (b"keep-alive, close", b"TE , Close"):  # RFC 9110 section 7.6.1
        answer = rack.say(plain.replace(b"close", value))
        assert answer.endswith(b"\r\n\r\n" + FILES["boot-kernel"])
    kept = plain.replace(b"close", b"TE, keep-alive")
    assert rack.say(kept + plain).count(b"HTTP/1.1 200 OK") == 2


# -- tricks


def test_tricks_over_the_wire(rack: LiveRack) -> None:
    dice = random.Random(1)
    chosen = dice.sample([path for path, _ in zip(tricks(), range(6000), strict=False)], 400)
    for path in chosen:
        target = path.encode("utf-8", "surrogateescape").decode("latin-1")
        status, _, rest = rack.say(request(target)).partition(b"\r\n")
        code = int(status.split()[1])
        is_file = any(rest.endswith(b"\r\n\r\n" + content) for content in FILES.values())
        assert code in (400, 404, 414, 431) or (code == 200 and is_file), path
    assert is_well(rack)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/" + "x" * 9000), 414),
        (request("/", "X-Large: " + "x" * 9000), 431),
        (request("/", *[f"X-{n}: 1" for n in range(200)]), 431),
        (request("/", *[f"X-{n}: {'x' * 4000}" for n in range(50)]), 431),
        (b"x" * 100_000, 431),
        (b"x" * 1_000_000, 431),
        (b"GET\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GE<T / HTTP/1.1\r\n\r\n", 400),
        (request("/\x00"), 400),
        (request("/", "Transfer-Encoding: gzip"), 400),
        (request("/", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        (request("/", "Content-Length: -5"), 400),
        (request("/", "Content-Length: 5", "Content-Length: 6"), 400),
        (request("/", "Expect: something"), 417),
        (request("/", "Bad Name: x"), 400),
        (request(f"{BASE}/boot-kernel", "Content-Length: 99"), 200),
        (request(f"http://elsewhere{BASE}/boot-kernel"), 200),
        (request("*", method="OPTIONS"), 405),
        (request("elsewhere:443", method="CONNECT"), 405),
        (b"GET / HTTP/1.0\r\n\r\n", 404),
    ],
)
def test_malformed_requests(data: bytes, status: int, rack: LiveRack) -> None:
    answer = rack.say(data)
    assert answer.startswith(b"HTTP/1."), answer[:100]
    assert int(answer.split()[1]) == status
    assert b"<html" not in answer
    assert is_well(rack)


# -- clients that hold on to what they have


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HT", id="half a line"),
        pytest.param(request("/")[:-2], id="half a head"),
        pytest.param(request("/").replace(b"close", b"keep-alive") + b"GET", id="one and a bit"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="an answer, and does not close"),
        pytest.param(request("/", "Content-Length: 99"), id="no body"),
    ],
)
def test_many_clients_that_wait_leave_the_threads_free(sent: bytes, rack: LiveRack) -> None:
    with ExitStack() as held:
        for _ in range(60):
            held.enter_context(rack.connection()).sendall(sent)
        assert is_well(rack)
        assert is_well(rack)


def test_a_head_may_come_in_small_pieces(rack: LiveRack) -> None:
    with rack.connection() as sock:
        for byte in request(f"{BASE}/boot-kernel"):
            sock.sendall(bytes([byte]))
        assert received(sock).endswith(FILES["boot-kernel"])


def test_one_address_cannot_take_all_threads(rack: LiveRack) -> None:
    with ExitStack() as held:
        for _ in range(30):  # none of these reads its answer
            sock = held.enter_context(rack.connection("127.0.0.2", receive=4096))
            sock.sendall(request(f"{BASE}/squashfs"))
        assert is_well(rack, source="127.0.0.3")
    assert is_well(rack, source="127.0.0.2")


def test_clients_that_leave_are_distinguished_from_those_that_got_all(rack: LiveRack) -> None:
    with rack.connection("127.0.0.4", receive=4096) as sock:
        sock.sendall(request(f"{BASE}/squashfs"))
        sock.recv(100)
    fetch(rack, f"{BASE}/squashfs", source="127.0.0.5")

    def sizes(address: str) -> list[int]:
        with rack.app.app_context():
            found = db.session.scalars(select(Event).where(Event.actor == address)).all()
            return [event.detail["bytes"] for event in found]

    live.wait_until(lambda: bool(sizes("127.0.0.4") and sizes("127.0.0.5")), "both events")
    assert sizes("127.0.0.5") == [SIZE]
    assert sizes("127.0.0.4")[0] < SIZE


# -- a new version while machines read


def test_readers_never_see_a_mix_while_versions_change(rack: LiveRack) -> None:
    def content(name: str, version: str) -> bytes:
        return f"{version} {name} ".encode() * 6_000

    def files(version: str) -> dict[str, bytes]:
        return {name: content(name, version) for name in ("boot-kernel", "squashfs")}

    base = "/images/ubuntu/amd64/{}/switching/stable"
    with rack.app.app_context():
        resource = images.image(files("v0"), release="switching", version="v0")
        identity = resource.id
    live.wait_until(
        lambda: fetch(rack, f"{base.format('generic')}/squashfs")[0].status == 200,
        "a new image is served, which takes up to a second",
    )
    is_over = threading.Event()
    seen: list[str] = []
    wrong: list[str] = []

    def read(subarch: str) -> None:
        while not is_over.is_set():
            kernel, body = fetch(rack, f"{base.format(subarch)}/boot-kernel")
            if kernel.status != 200:
                wrong.append(f"kernel {kernel.status} {body[:80]!r}")
                continue
            version = str(kernel.getheader("X-Slipway-Version"))
            pinned = str(kernel.getheader("Content-Location"))
            root, root_body = fetch(rack, pinned.replace("boot-kernel", "squashfs"))
            by_hand, same = fetch(rack, f"{base.format(subarch)}/{version}/squashfs")
            seen.append(version)
            if body != content("boot-kernel", version):
                wrong.append(f"kernel of {version}: {len(body)} bytes")
            for answer, got in ((root, root_body), (by_hand, same)):
                if answer.status != 200 or got != content("squashfs", version):
                    wrong.append(f"root of {version}: {answer.status}, {got[:80]!r}")

    readers = [threading.Thread(target=read, args=(name,)) for name in ("ga-24.04", "generic") * 2]
    for reader in readers:
        reader.start()
    try:
        with rack.app.app_context():
            resource = db.session.get_one(BootResource, identity)
            for number in range(1, 41):
                images.switch(resource, files(f"v{number}"), version=f"v{number}")
        live.wait_until(lambda: bool(wrong) or "v40" in seen, "the last version is served")
    finally:
        is_over.set()
        for reader in readers:
            reader.join()
        assert wrong == []
    assert len(set(seen)) > 2


# -- the end


def test_a_running_download_ends_before_the_server_does(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> None:
    content = os.urandom(8 << 20)
    rack = LiveRack(tmp_path_factory.mktemp("rack"), sqlite_databases.migrated())
    rack.launch = commands.execute
    with rack.app.app_context():
        images.image({"squashfs": content})
    with rack, rack.connection(receive=4096) as sock:
        sock.sendall(request(f"{BASE}/squashfs"))
        start = sock.recv(1000)
        assert rack.process is not None
        rack.process.terminate()
        live.wait_until(lambda: not live.answers(rack.url), "the port is closed")
        rest = received(sock)
        assert (start + rest).endswith(content)
        assert rack.process.wait(60) == 0
        with rack.app.app_context():
            [event] = db.session.scalars(select(Event)).all()
            assert event.detail["bytes"] == len(content)


def test_a_used_port_is_reported_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> None:
    with socket.create_server((live.HOST, 0)) as other:
        port = other.getsockname()[1]
        rack = LiveRack(
            tmp_path_factory.mktemp("rack"),
            sqlite_databases.migrated(),
            rack_bind=f"{live.HOST}:{port}",
        )
        with pytest.raises(AssertionError, match="the process has ended"), rack:
            pass
    assert rack.stop() == 1
    text = rack.log.read_text()
    assert f"Port {port} is already in use." in text
    assert "Traceback" not in text
