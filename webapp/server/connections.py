# SPDX-License-Identifier: Apache-2.0
"""gunicorn's threaded worker, made fit for a network with hostile machines on it.

gunicorn 27 gives a thread to every new connection and lets it wait there for
its request, and closes connections within its one event loop, up to two
seconds each. A few hundred idle or slow clients then stop the service for
everyone. Here the event loop reads the head and any ordinary body of each request,
sends files, and lingers over each close without ever waiting. Plain requests for files it
answers by itself. A thread sees whole requests only; those that stream a body have their own.
"""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

from gunicorn.workers.gthread import TConn, ThreadWorker

from webapp.server.crowds import Crowds, Guest
from webapp.server.incoming import patience, read_head, sender, target, with_one_option
from webapp.server.sending import Sending, sent_at_once
from webapp.server.shares import Shares
from webapp.server.sockets import InPlaceUnreader, Transfer, received, refusal_of, refuse

STREAM_S = 300.0  # for a chunked body that is no upload
MAX_COLLECTED = 64 << 20  # bytes of bodies in memory, in each process
REAP_S = 0.5  # between checks for expired connections
MAX_HEAD = 64 << 10  # bytes of it that we hold for one connection
# A refused client that is still sending reads the reason afterwards (RFC 9112 9.6).
LINGER_S = 2.0  # how long it may pause
MAX_LINGER_S = 30.0
MAX_LINGER = 64 << 20  # bytes of it that are discarded
DRAIN_S = 0.5  # to wait for a body that went unread


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """Reads heads and closes connections without a thread; shares threads among addresses.

    A connection is always in one place: arriving (its request is not whole),
    queued (its share of the threads is taken), running, sending (a file, in the event
    loop), kept alive (gunicorn's own list), or leaving.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arriving: dict[TConn, bytearray] = {}  # in the order of their arrival
        self._collected = 0  # bytes of those, beyond what a head may have
        self._sending = Sending(lambda: self.poller, self.method_queue, self._sent)
        self._plain: Any = None  # the rack's PlainAnswers
        self._current = threading.local()  # the connection whose request this thread answers
        self._leaving: dict[TConn, int] = {}  # likewise; bytes they sent meanwhile
        self._queued: deque[TConn] = deque()
        self._reaped = 0.0
        threads = self.cfg.threads
        self._shares = Shares(threads, getattr(self.app, "threads_per_address", threads))
        self._crowds = Crowds(getattr(self.app, "connections_per_address", 0))
        self._proxies: int = getattr(self.app, "trusted_proxies", 0)
        self._is_upload: Callable[[bytes], bool] = getattr(self.app, "is_upload", bool)

    def load_wsgi(self) -> None:
        """Load the app, and let it hand over files that the event loop sends."""
        super().load_wsgi()
        app = cast(Any, self).wsgi
        self._plain = app.extensions.get("slipway.plain")

        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            environ["slipway.hand_over"] = self._take_over
            environ["slipway.is_alive"] = lambda: self.alive
            environ["slipway.unreader"] = self._current.conn.parser.unreader
            return app(environ, start_response)

        answer.extensions = app.extensions  # type: ignore[attr-defined]
        self.wsgi = answer

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept while a thread is free, so that other processes get the rest.

        Stop listening when stopping: being refused is better than waiting in vain.
        """
        super().set_accept_enabled(enabled and not self._shares.is_full)
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
        guest = Guest(self._crowds, self.cfg, sock, client, listener.getsockname())
        if not self._crowds.is_over(guest.address):
            self._arrive(guest, bytearray())
        elif self._crowds.refuse(guest):
            self._part(guest)
        else:
            self._drop(guest)

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Read the next request of a kept-alive connection."""
        data = received(client)
        if data is None:
            return
        self.keepalived_conns.remove(conn)
        reply = self._plain_reply(conn, data)
        outcome = reply and sent_at_once(client, reply)
        if reply and outcome and reply.is_kept:
            self._keep(conn)  # and go on polling it
            return
        self.poller.unregister(client)
        if reply:
            self._replied(conn, reply, outcome)
        elif data:
            self._arrive(conn, bytearray(data))
        else:
            self._drop(conn)

    def _arrive(self, conn: TConn, head: bytearray) -> None:
        """Read a request's head as far as it is there; poll for the rest."""
        conn.incoming = None
        if not self._advance(conn, head):
            conn.timeout = time.monotonic() + patience(conn.incoming)
            self._arriving[conn] = head
            self._collected += len(head)
            self._watch(conn, self._on_arriving)

    def _on_arriving(self, conn: TConn, client: socket.socket) -> None:
        head, had_head = self._arriving[conn], conn.incoming is not None
        before = len(head)
        if self._advance(conn, head):
            return
        self._collected += len(head) - before
        if conn.incoming is not None and not had_head:
            conn.timeout = time.monotonic() + patience(conn.incoming)
        while self._collected > MAX_COLLECTED and self._arriving:
            self._give_up(max(self._arriving, key=lambda one: len(self._arriving[one])))

    def _advance(self, conn: TConn, head: bytearray) -> bool:
        """Read on without waiting; True when there is nothing more to wait for."""
        before = len(head)
        conn.incoming = conn.incoming or read_head(head)
        if conn.incoming is None or len(head) < conn.incoming.needed:
            data = received(conn.sock)
            if data is None:
                return False
            if not data:
                self._leave_arriving(conn, before)
                self._drop(conn)
                return True
            head += data
            if reply := self._plain_reply(conn, head):
                self._leave_arriving(conn, before)
                self._replied(conn, reply, sent_at_once(conn.sock, reply))
                return True
            conn.incoming = conn.incoming or read_head(head)
            if conn.incoming is None and len(head) > MAX_HEAD:
                self._leave_arriving(conn, before)
                refuse(conn.sock, 431, "Request Header Fields Too Large")
                self._part(conn)
                return True
            if conn.incoming is None or len(head) < conn.incoming.needed:
                return False
        self._leave_arriving(conn, before)
        conn.sender = sender(conn.address, conn.incoming.forwarded, self._proxies)
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = InPlaceUnreader(conn.sock)
        is_bounded = conn.incoming.is_streamed and not self._is_upload(target(head))
        conn.parser.unreader.deadline = time.monotonic() + STREAM_S if is_bounded else None
        conn.parser.unreader.unread(bytes(head))
        conn.data_ready = True
        self.enqueue_req(conn)
        return True

    def _leave_arriving(self, conn: TConn, collected: int) -> None:
        """Stop waiting for the rest of a request, if we did."""
        if self._arriving.pop(conn, None) is not None:
            self._collected -= collected
            self.poller.unregister(conn.sock)

    # -- answering at once

    def _plain_reply(self, conn: TConn, data: bytes | bytearray) -> Any:
        """The answer to a request that needs no thread, None for any other."""
        if self._plain is None:
            return None
        return self._plain.answer(data, conn.address, conn.sock, may_keep=self.alive)

    def _replied(self, conn: TConn, reply: Any, outcome: bool | None) -> None:
        """Go on after a plain answer of which all, or a part, went out."""
        conn.is_kept = reply.is_kept
        if outcome is False:
            self._sending.begin(conn, reply)
        elif outcome and conn.is_kept:
            self._go_on(conn, is_kept=True)
        else:
            self._drop(conn)  # all was read, so that the close doesn't reset what was sent

    # -- running

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection a thread, or let it wait while its share is taken."""
        if not self._has_thread_for(conn):
            self._queued.append(conn)
            return
        self._shares.take(conn.sender, is_streamed=conn.incoming.is_streamed)
        if self._shares.is_full:
            self.set_accept_enabled(False)
        super().enqueue_req(conn)

    def _has_thread_for(self, conn: TConn) -> bool:
        return self._shares.has_one_for(conn.sender, is_streamed=conn.incoming.is_streamed)

    def handle(self, conn: TConn) -> Any:
        """Answer one request; runs in a thread of the pool."""
        self._current.conn, conn.transfer, conn.is_answered = conn, None, False
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Run the app, and note that the head of its answer went out."""
        req.headers = with_one_option(req.headers)
        is_kept = super().handle_request(req, conn)
        conn.is_answered = True
        return is_kept

    def _take_over(self, transfer: Transfer) -> None:
        """Have the event loop send a file after the head of the answer."""
        self._current.conn.transfer = transfer

    def finish_request(self, conn: TConn, future: Future[Any]) -> None:
        """Put a connection where it belongs after its request; runs in the event loop."""
        self._free_thread(conn)
        is_kept = not future.cancelled() and future.exception() is None and future.result()
        transfer, conn.transfer = conn.transfer, None
        if transfer is not None and not conn.is_answered:
            transfer.close()
        elif transfer is not None:
            conn.is_kept = is_kept
            self._sending.begin(conn, transfer)
            return
        self._go_on(conn, is_kept)

    def _sent(self, conn: TConn, is_well: bool) -> None:
        """The event loop's transfer ended."""
        if is_well:
            self._go_on(conn, conn.is_kept)
        else:
            self._drop(conn)

    def _go_on(self, conn: TConn, is_kept: bool) -> None:
        """Wait for the next request of a connection, or let it go."""
        if not is_kept:
            self._part(conn)
            return
        if conn.initialized:  # a thread answered before
            conn.sock.setblocking(False)
            read_ahead = conn.parser.unreader.take_buffered()
            if read_ahead:
                self._arrive(conn, bytearray(read_ahead))
                return
        self._keep(conn)
        self._watch(conn, self.on_client_socket_readable)

    def _keep(self, conn: TConn) -> None:
        conn.set_timeout()
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + LINGER_S)
        self.keepalived_conns.append(conn)

    def _free_thread(self, conn: TConn) -> None:
        self._shares.give_back(conn.sender, is_streamed=conn.incoming.is_streamed)
        for waiting in self._queued:
            if self._has_thread_for(waiting):
                self._queued.remove(waiting)
                self.enqueue_req(waiting)
                break
        if self.alive:
            self.set_accept_enabled(self.nr_conns < self.worker_connections)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Whether the next request may follow; an unread body is not waited for."""
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_S))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what could not be parsed with a line of text; machines read no HTML."""
        status, reason = refusal_of(exc)
        if status < 500:
            self.log.debug("invalid request from %s: %s", addr and addr[0], exc)
        else:
            self.log.error("error handling request", exc_info=exc)
        refuse(client, status, reason)

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
        conn.leaves_by = time.monotonic() + MAX_LINGER_S
        self._leaving[conn] = 0
        self._watch(conn, self._on_leaving)

    def _on_leaving(self, conn: TConn, client: socket.socket) -> None:
        data = received(client)
        if data is not None:
            self._leaving[conn] += len(data)
            conn.timeout = min(conn.leaves_by, time.monotonic() + LINGER_S)
            if not data or self._leaving[conn] > MAX_LINGER:
                self._give_up(conn)

    def murder_pending(self) -> None:
        """Close what ran out of time; a stopping worker waits for no new request."""
        now = time.monotonic()
        if self.alive and now < self._reaped + REAP_S:
            return
        self._reaped = now
        for waiting in (self._arriving, self._leaving):
            for conn in [one for one in waiting if one.timeout <= now or not self.alive]:
                if waiting is self._arriving and conn.incoming is not None:
                    refuse(conn.sock, 408, "Request Timeout")
                self._give_up(conn)
        self._sending.reap(now)

    def _make_room(self) -> None:
        """Close the connection that has been without a request for the longest time."""
        for waiting in (self._leaving, self._arriving):
            if waiting:
                self._give_up(next(iter(waiting)))
                return
        if self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self._drop(conn)

    def _give_up(self, conn: TConn) -> None:
        if conn in self._arriving:
            self._collected -= len(self._arriving.pop(conn))
        else:
            del self._leaving[conn]
        self.poller.unregister(conn.sock)
        self._drop(conn)

    def _drop(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def _watch(self, conn: TConn, callback: Callable[[TConn, socket.socket], None]) -> None:
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(callback, conn))
