# SPDX-License-Identifier: Apache-2.0
"""What is done with the socket of one request: read a body, refuse, send a file."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from gunicorn.http import errors
from gunicorn.http.unreader import SocketUnreader

LARGE_PIECE = 64 << 10
IDLE_S = 1.0
MAX_IDLE = 60  # of those until a silent client is given up
Received = TypeVar("Received")

_STATUS_OF = {
    errors.LimitRequestLine: (414, "URI Too Long"),
    errors.LimitRequestHeaders: (431, "Request Header Fields Too Large"),
    errors.ExpectationFailed: (417, "Expectation Failed"),
}
_OUR_FAULT = (
    errors.ConfigurationProblem,
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
)


class Transfer(Protocol):
    """A file on its way to a machine, sent by the event loop."""

    def send(self, sock: socket.socket, most: int) -> bool:
        """Send at most so many bytes without waiting; True at the end. Raises OSError."""
        ...

    def wait(self, wake: Callable[[], None]) -> bool:
        """Whether the next byte isn't here yet; then ``wake`` is called once, when it is."""
        ...

    def close(self) -> None:
        """End it, whole or not."""
        ...


class InPlaceUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Receives pieces of a body in place; gunicorn reads ahead and copies what it has read.

    deadline: when the body has to be whole, None without one. on_idle: asked each second
    in which nothing comes; True ends the body there.
    """

    deadline: float | None = None
    on_idle: Callable[[], bool] | None = None

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
        while got < size and (more := self._receive(partial(self.sock.recv_into, view[got:]))):
            got += more
        return bytes(view[:got])

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes of the socket, none at its end. size_hint: bytes still wanted."""
        size = max(self.mxchunk, min(size_hint or 0, self.max_body_chunk))
        return self._receive(partial(self.sock.recv, size)) or b""

    def _receive(self, receive: Callable[[], Received]) -> Received | None:
        """What ``receive`` gives, None when the body is ended early."""
        if self.on_idle is None:
            return receive()
        before = self.sock.gettimeout()
        self.sock.settimeout(IDLE_S)
        try:
            for _ in range(MAX_IDLE):
                try:
                    return receive()
                except TimeoutError:
                    if self.on_idle():
                        return None
            raise TimeoutError(errno.ETIMEDOUT, "nothing more came")
        finally:
            self.sock.settimeout(before)


def received(sock: socket.socket) -> bytes | None:
    """What a socket has for us: None when nothing yet, nothing when it never will."""
    try:
        return sock.recv(16 << 10)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def refusal_of(error: Exception) -> tuple[int, str]:
    """The status and reason for a request that couldn't be answered: 4xx if it is to blame."""
    if isinstance(error, errors.ParseException) and not isinstance(error, _OUR_FAULT):
        return _STATUS_OF.get(type(error), (400, "Bad Request"))
    return 500, "Internal Server Error"


def refuse(sock: socket.socket, status: int, reason: str, fields: str = "") -> None:
    """Answer with one line of text; machines read no HTML. Never raises, never waits long.

    fields: more lines of the head, each with its CRLF.
    """
    text = f"{reason}.\n"
    try:
        sock.send(
            f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n{fields}"
            f"Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
        )
    except OSError:
        pass  # whoever sent this does not listen
