# SPDX-License-Identifier: Apache-2.0
"""What is done with the socket of one request: read a body, refuse, send a file."""

from __future__ import annotations

import errno
import socket
import time
from typing import Protocol

from gunicorn.http.unreader import SocketUnreader

LARGE_PIECE = 64 << 10


class Transfer(Protocol):
    """A file on its way to a machine, sent by the event loop."""

    def send(self, sock: socket.socket, most: int) -> bool:
        """Send at most so many bytes without waiting; True at the end. Raises OSError."""
        ...

    def close(self) -> None:
        """End it, whole or not."""
        ...


class InPlaceUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Receives pieces of a body in place; gunicorn reads ahead and copies what it has read.

    deadline: when the body has to be whole, None without one.
    """

    deadline: float | None = None

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """``size`` bytes, fewer only at the end of the stream; see Unreader."""
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "the body came too slowly")
            self.sock.settimeout(left)
        if size is None or size < LARGE_PIECE:
            return bytes(super().read(size, read_ahead))
        held = self.take_buffered()
        if len(held) > size:
            self.unread(held[size:])
        data = bytearray(size)
        got = min(len(held), size)
        data[:got] = held[:got]
        view = memoryview(data)
        while got < size and (more := self.sock.recv_into(view[got:])):
            got += more
        return bytes(view[:got])


def received(sock: socket.socket) -> bytes | None:
    """What a socket has for us: None when nothing yet, nothing when it never will."""
    try:
        return sock.recv(16 << 10)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def refuse(sock: socket.socket, status: int, reason: str) -> None:
    """Answer with one line of text; machines read no HTML. Never raises, never waits long."""
    text = f"{reason}.\n"
    try:
        sock.send(
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
        )
    except OSError:
        pass  # whoever sent this does not listen
