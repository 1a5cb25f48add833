# SPDX-License-Identifier: Apache-2.0
"""The event loop's side of a download: who takes bytes isn't gone, however few at a time."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from gunicorn.workers.gthread import PollableMethodQueue, TConn

from webapp.rack.bodies import FileBody
from webapp.server import sending
from webapp.server.sending import Sending

SIZE = 4 << 20


class Connection(TConn):  # type: ignore[misc]
    """A connection without gunicorn around it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.timeout: float | None = None


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our side of a connection with a small buffer, and the machine's."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 << 10)
    ours.setblocking(False)
    theirs.settimeout(5)
    with closing(ours), closing(theirs):
        yield ours, theirs


@pytest.fixture
def body(tmp_path: Path) -> FileBody:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    handle = os.open(path, os.O_RDONLY)
    return FileBody(handle, 0, SIZE, lambda: None, lambda sent: os.close(handle))


def test_a_part_that_was_taken_is_no_silence(
    pair: tuple[socket.socket, socket.socket], body: FileBody
) -> None:
    ours, theirs = pair
    assert body.send(ours, 1 << 20) is False
    assert 0 < body.sent < 1 << 20
    with pytest.raises(BlockingIOError):
        body.send(ours, 1 << 20)
    theirs.recv(1 << 20)
    assert body.send(ours, 1 << 20) is False
    body.close()


def test_a_slow_machine_that_takes_a_little_at_a_time_is_kept(
    pair: tuple[socket.socket, socket.socket], body: FileBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    ended: list[bool] = []
    with selectors.DefaultSelector() as poller:
        loop = Sending(lambda: poller, PollableMethodQueue(), lambda conn, well: ended.append(well))
        now = 1000.0
        monkeypatch.setattr(sending.time, "monotonic", lambda: now)
        loop.begin(Connection(ours), body)
        for _ in range(5):
            for key, _events in poller.select(0):
                key.data(key.fileobj)
            theirs.recv(1 << 20)
            now += sending.STALL_S - 1
            loop.reap(now)
        assert ended == []
        for _ in range(2):  # the bytes that it took last count once
            now += 2 * sending.STALL_S
            loop.reap(now)
        assert ended == [False]


def test_a_machine_too_slow_to_empty_a_buffer_in_time_is_kept_while_it_takes_bytes(
    body: FileBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells of room in a large buffer only when a third of it is free."""
    ended: list[bool] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as theirs,
        server.accept()[0] as ours,
        selectors.DefaultSelector() as poller,
    ):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        loop = Sending(lambda: poller, PollableMethodQueue(), lambda conn, well: ended.append(well))
        now = 1000.0
        monkeypatch.setattr(sending.time, "monotonic", lambda: now)
        loop.begin(Connection(ours), body)
        while events := poller.select(0.2):
            for key, _events in events:
                key.data(key.fileobj)
        for _ in range(3):
            before = sending.waiting(ours)
            while sending.waiting(ours) == before:
                theirs.recv(16 << 10)
            assert poller.select(0) == [], "a little has been taken, and there is no room yet"
            now += sending.STALL_S + 1
            loop.reap(now)
        assert ended == []
        loop.reap(now + sending.STALL_S + 1)
        assert ended == [False]
