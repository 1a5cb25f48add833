# SPDX-License-Identifier: Apache-2.0
"""gunicorn's threaded worker, made fit for a network with hostile machines on it.

gunicorn 27 gives a thread to every new connection and lets it wait there for
its request, and closes connections within its one event loop, up to two
seconds each. A few hundred idle or slow clients then stop the service for
everybody. Here the event loop reads the head of each request and lingers over
each close without ever waiting; a thread sees whole requests only.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

HEAD_S = 10.0  # a request's head must be whole after this
MOST_HEAD = 64 << 10  # bytes of it that we hold for one connection
LINGER_S = 2.0  # how long a closed connection may still send (RFC 9112 9.6)
MOST_LINGER = 64 << 10  # bytes of that
DRAIN_S = 0.5  # patience for a body nobody read
LARGE_PIECE = 64 << 10
SHARE = 3 / 4  # of the threads that one address may hold

END_OF_HEAD = b"\r\n\r\n"

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


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """Reads heads and closes connections without a thread; shares threads among addresses.

    A connection is always in one place: arriving (its head is not whole),
    queued (its address holds its share of the threads), running, kept alive
    (gunicorn's own list), or leaving.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: dict[TConn, bytearray] = {}  # in the order of their deadlines
        self._leaving: dict[TConn, int] = {}  # likewise; bytes they sent meanwhile
        self._queued: dict[str, deque[TConn]] = {}
        self._running: Counter[str] = Counter()
        self._share: int = getattr(self.app, "threads_per_address", self.cfg.threads)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Stop listening when stopping: being refused is better than waiting in vain."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    # -- arriving

    def accept(self, listener: socket.socket) -> None:
        """Take one connection; at the bound the one that waits longest makes room."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._arrive(TConn(self.cfg, sock, client, listener.getsockname()), bytearray())

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Read the next request of a kept-alive connection."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._arrive(conn, bytearray())

    def _arrive(self, conn: TConn, head: bytearray) -> None:
        """Read a request's head as far as it is there; poll for the rest."""
        if not self._advance(conn, head):
            conn.timeout = time.monotonic() + HEAD_S
            self._arriving[conn] = head
            self._watch(conn, self._on_arriving)

    def _on_arriving(self, conn: TConn, client: socket.socket) -> None:
        self.poller.unregister(client)
        if self._advance(conn, self._arriving[conn]):
            del self._arriving[conn]
        else:
            self._watch(conn, self._on_arriving)

    def _advance(self, conn: TConn, head: bytearray) -> bool:
        """Read on without waiting; True when there is nothing more to wait for."""
        if END_OF_HEAD not in head:
            data = _received(conn.sock)
            if data is None:
                return False
            if not data:
                self._drop(conn)
                return True
            head += data
            if END_OF_HEAD not in head:
                if len(head) <= MOST_HEAD:
                    return False
                self._refuse(conn.sock, 431, "Request Header Fields Too Large")
                self._part(conn)
                return True
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = InPlaceUnreader(conn.sock)
        conn.parser.unreader.unread(bytes(head))
        conn.data_ready = True
        self.enqueue_req(conn)
        return True

    # -- running

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection a thread, or let it wait while its address has its share."""
        address = _address(conn)
        if self._running[address] >= self._share:
            self._queued.setdefault(address, deque()).append(conn)
            return
        self._running[address] += 1
        super().enqueue_req(conn)

    def finish_request(self, conn: TConn, future: Future[Any]) -> None:
        """Put a connection where it belongs after its request; runs in the event loop."""
        self._free_thread(_address(conn))
        is_kept = not future.cancelled() and future.exception() is None and future.result()
        if not is_kept:
            self._part(conn)
            return
        conn.sock.setblocking(False)
        read_ahead = conn.parser.unreader.take_buffered()
        if read_ahead:
            self._arrive(conn, bytearray(read_ahead))
            return
        conn.set_timeout()
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + LINGER_S)
        self.keepalived_conns.append(conn)
        self._watch(conn, self.on_client_socket_readable)

    def _free_thread(self, address: str) -> None:
        self._running[address] -= 1
        if not self._running[address]:
            del self._running[address]
        queue = self._queued.get(address)
        if queue:
            self.enqueue_req(queue.popleft())
            if not queue:
                del self._queued[address]

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Whether the next request may follow; a body nobody read is not waited for."""
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_S))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what could not be parsed with a line of text; machines read no HTML."""
        if isinstance(exc, errors.ParseException) and not isinstance(exc, _OUR_FAULT):
            status, reason = _STATUS_OF.get(type(exc), (400, "Bad Request"))
            self.log.debug("invalid request from %s: %s", addr and addr[0], exc)
        else:
            status, reason = 500, "Internal Server Error"
            self.log.error("error handling request", exc_info=exc)
        self._refuse(client, status, reason)

    @staticmethod
    def _refuse(sock: socket.socket, status: int, reason: str) -> None:
        text = f"{reason}.\n"
        try:
            sock.send(
                f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\n"
                f"Content-Type: text/plain; charset=utf-8\r\n"
                f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
            )
        except OSError:
            pass  # whoever sent this does not listen

    # -- leaving

    def _part(self, conn: TConn) -> None:
        """Say that nothing more comes and let the last bytes arrive before the close.

        Closing with unread bytes would reset the connection under them.
        """
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.timeout = time.monotonic() + LINGER_S
        self._leaving[conn] = 0
        self._watch(conn, self._on_leaving)

    def _on_leaving(self, conn: TConn, client: socket.socket) -> None:
        data = _received(client)
        if data is not None:
            self._leaving[conn] += len(data)
            if not data or self._leaving[conn] > MOST_LINGER:
                self._give_up(conn, self._leaving)

    def murder_pending(self) -> None:
        """Close what ran out of time; a stopping worker waits for no new request."""
        now = time.monotonic()
        for waiting in (self._arriving, self._leaving):
            late = [conn for conn in waiting if conn.timeout <= now or not self.alive]
            for conn in late:
                self._give_up(conn, waiting)

    def _make_room(self) -> None:
        """Close the connection that has been without a request for the longest time."""
        for waiting in (self._leaving, self._arriving):
            if waiting:
                self._give_up(next(iter(waiting)), waiting)
                return
        if self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self._drop(conn)

    def _give_up(self, conn: TConn, waiting: dict[TConn, Any]) -> None:
        del waiting[conn]
        self.poller.unregister(conn.sock)
        self._drop(conn)

    def _drop(self, conn: TConn) -> None:
        self.nr_conns -= 1
        util.close(conn.sock)

    def _watch(self, conn: TConn, callback: Callable[[TConn, socket.socket], None]) -> None:
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(callback, conn))


class InPlaceUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Receives pieces of a body in place; gunicorn reads ahead and copies what it has read."""

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """``size`` bytes, fewer only at the end of the stream; see Unreader."""
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


def _received(sock: socket.socket) -> bytes | None:
    """What a socket has for us: None when nothing yet, nothing when it never will."""
    try:
        return sock.recv(16 << 10)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _address(conn: TConn) -> str:
    return str(conn.client[0]) if conn.client else ""
