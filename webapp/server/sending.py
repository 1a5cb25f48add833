# SPDX-License-Identifier: Apache-2.0
"""Files on their way to machines, sent by the event loop without ever waiting."""

from __future__ import annotations

import fcntl
import math
import selectors
import socket
import sys
import termios
import time
from collections.abc import Callable
from functools import partial

from gunicorn.workers.gthread import PollableMethodQueue, TConn

from webapp.server.sockets import Transfer

STALL_S = 60.0  # a machine that took no byte of its file in this time is gone
SEND_PIECE = 1 << 20  # bytes of a file sent to one machine before others get their turn


def sent_at_once(sock: socket.socket, transfer: Transfer) -> bool | None:
    """Whether all of a transfer went out just now; None when the machine is gone.

    It's closed, unless there's more to send.
    """
    try:
        is_over = transfer.send(sock, SEND_PIECE)
    except BlockingIOError:
        return False
    except OSError:
        transfer.close()
        return None
    if is_over:
        transfer.close()
    return is_over


def waiting(sock: socket.socket) -> int:
    """Bytes that were sent and that the machine hasn't taken."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class Sending:
    """The transfers of one event loop.

    A connection whose next byte isn't here yet isn't polled: whoever brings the byte
    wakes it through ``queue``. on_end: called with each connection, and whether its
    transfer ended well.
    """

    def __init__(
        self,
        poller: Callable[[], selectors.BaseSelector],
        queue: PollableMethodQueue,
        on_end: Callable[[TConn, bool], None],
    ) -> None:
        self._poller = poller
        self._queue = queue
        self._on_end = on_end
        self._transfers: dict[TConn, Transfer] = {}
        self._left: dict[TConn, int] = {}  # as `waiting` told when something was sent

    def begin(self, conn: TConn, transfer: Transfer) -> None:
        """Send a file after the head of its answer."""
        conn.sock.setblocking(False)
        self._transfers[conn] = transfer
        self._watch(conn)

    def reap(self, now: float) -> None:
        """End those that ran out of time."""
        for conn in [conn for conn in self._transfers if conn.timeout <= now]:
            # A large buffer isn't ready for more before a slow machine has taken much of it.
            left = waiting(conn.sock)
            if left < self._left[conn]:
                self._left[conn] = left
                conn.timeout = now + STALL_S
            else:
                self._end(conn, is_well=False)

    def _watch(self, conn: TConn) -> None:
        self._poller().register(conn.sock, selectors.EVENT_WRITE, partial(self._send, conn))
        self._wait(conn)

    def _wait(self, conn: TConn) -> None:
        self._left[conn] = waiting(conn.sock)
        conn.timeout = time.monotonic() + STALL_S

    def _send(self, conn: TConn, client: socket.socket) -> None:
        """Send what the socket takes."""
        transfer = self._transfers[conn]
        try:
            is_over = transfer.send(client, SEND_PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._end(conn, is_well=False)
            return
        self._wait(conn)
        if is_over:
            self._end(conn, is_well=True)
        elif transfer.wait(partial(self._queue.defer, self._resume, conn)):
            self._poller().unregister(client)
            conn.timeout = math.inf  # whoever brings the bytes has patience for both

    def _resume(self, conn: TConn) -> None:
        if conn in self._transfers and conn.timeout == math.inf:
            self._watch(conn)

    def _end(self, conn: TConn, *, is_well: bool) -> None:
        self._poller().unregister(conn.sock)
        self._transfers.pop(conn).close()
        del self._left[conn]
        self._on_end(conn, is_well)
