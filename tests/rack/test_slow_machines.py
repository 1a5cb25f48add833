# SPDX-License-Identifier: Apache-2.0
"""Machines that read slowly or not at all cost a connection, never a thread."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack, received, request
from tests.support import databases

CONTENT = bytes(range(256)) * (16 << 10)  # 4 MiB
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")


@pytest.fixture(scope="module")
def rack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: databases.Databases
) -> Iterator[LiveRack]:
    """A rack with two processes of four threads."""
    folder = tmp_path_factory.mktemp("slow")
    with LiveRack(folder, sqlite_databases.migrated(), rack_workers=2, rack_threads=4) as running:
        with running.app.app_context():
            images.image({"squashfs": CONTENT, "boot-kernel": b"kernel"})
        yield running


def has_begun(sock: socket.socket) -> bool:
    return sock.recv(12) == b"HTTP/1.1 200"


def test_hundreds_of_slow_machines_all_get_their_file(rack: LiveRack) -> None:
    with ExitStack() as held:
        slow = []
        for number in range(240):
            address = ADDRESSES[number % len(ADDRESSES)]
            sock = held.enter_context(rack.connection(address, receive=4096))
            sock.sendall(request(f"{BASE}/squashfs"))
            slow.append(sock)
        assert all(map(has_begun, slow))
        # All of them hold an answer that they don't read, and others are served.
        for address in ("127.0.0.6", *ADDRESSES):
            assert rack.say(request(f"{BASE}/squashfs"), address).endswith(CONTENT)
            assert rack.say(request(f"{BASE}/boot-kernel"), address).endswith(b"kernel")
        for sock in slow[::40]:
            assert received(sock).endswith(CONTENT)


def test_a_connection_is_kept_after_a_file_that_was_sent_slowly(rack: LiveRack) -> None:
    with rack.connection(receive=4096) as sock:
        for _ in range(3):
            sock.sendall(request(f"{BASE}/squashfs").replace(b"close", b"keep-alive"))
            answer = bytearray()
            while not answer.endswith(CONTENT):
                data = sock.recv(1 << 16)
                assert data, "the connection was closed"
                answer += data
        sock.sendall(request(f"{BASE}/boot-kernel"))
        assert received(sock).endswith(b"kernel")


def test_pipelined_requests_behind_a_file_are_answered_in_order(rack: LiveRack) -> None:
    first = request(f"{BASE}/squashfs").replace(b"close", b"keep-alive")
    answer = rack.say(first + request(f"{BASE}/boot-kernel"))
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(CONTENT) < answer.rindex(b"kernel")
