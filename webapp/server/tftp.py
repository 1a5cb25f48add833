# SPDX-License-Identifier: Apache-2.0
"""The TFTP server: one thread sends to all machines; each transfer has a socket of its own.

A connected socket takes packets of its machine alone. Files are opened by other threads, since
that may wait for the database or hash a file. See docs/adr/0008-own-tftp-server.md.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType

import structlog

from webapp import create_app
from webapp.config import Settings
from webapp.rack import tftp_packets as packets
from webapp.rack.tftp_names import UNREADABLE, Content, TftpNames
from webapp.rack.tftp_packets import ReadRequest, Refusal
from webapp.rack.tftp_transfer import Transfer
from webapp.server.planes import AddressProblem, raise_file_limit

log = structlog.get_logger(__name__)

MAX_TRANSFERS = 1000
MAX_PER_ADDRESS = 16
OPENERS = 4
MAX_PACKET = 1 << 16
TICK_S = 0.25
SILENT_S = 0.5  # without a first answer; then a transfer makes room for others
MAX_TURN = 64  # packets from one socket; then the others have their turn
BUFFER = 4 << 20  # bytes of requests that wait, when many machines start at once

Peer = tuple[str, int]


def listen(settings: Settings) -> socket.socket:
    """The server's socket. Raises AddressProblem."""
    host, _, port = settings.tftp_bind.rpartition(":")
    host = host.strip("[]")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind((host, int(port)))
    except OSError as error:
        sock.close()
        next_step = "Set SLIPWAY_TFTP_BIND to another address, or leave it empty."
        if error.errno in (errno.EACCES, errno.EPERM):
            next_step = "Give Slipway the capability CAP_NET_BIND_SERVICE, or another port."
        raise AddressProblem(
            f"Slipway can't serve TFTP on {settings.tftp_bind}: {error.strerror}.",
            where=f"SLIPWAY_TFTP_BIND={settings.tftp_bind}",
            next_step=next_step,
        ) from error
    sock.setblocking(False)
    return sock


def run_tftp(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM."""
    from webapp import rack

    raise_file_limit()
    app = create_app(settings, plane="rack")
    server = TftpServer(listener, rack.tftp_names(app), settings.rack_bind.rpartition(":")[2])

    def leave(number: int, frame: FrameType | None) -> None:
        server.leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        server.run()
    finally:
        app.extensions["slipway.rack"].close()


@dataclass
class _Running:
    """A transfer with its socket. due: when the client's silence has lasted too long.

    heard: when it began, or the client last confirmed something.
    """

    peer: Peer
    socket: socket.socket
    content: Content
    transfer: Transfer
    due: float
    heard: float = 0.0

    def is_silent(self, now: float) -> bool:
        """Whether the client hasn't confirmed anything for a while, or at all."""
        has_begun = self.transfer.sent > 0
        return self.transfer.tries > 0 if has_begun else now - self.heard >= SILENT_S


class TftpServer:
    """Answers read requests; ``run`` until ``leave``.

    http_port: of the rack, for configurations. openers: threads that open files.
    """

    def __init__(
        self,
        listener: socket.socket,
        names: TftpNames,
        http_port: str,
        openers: int = OPENERS,
    ) -> None:
        self._openers = openers
        self._listener = listener
        self._names = names
        self._http_port = http_port
        self._selector = selectors.DefaultSelector()
        self._running: dict[Peer, _Running] = {}
        self._opening: set[Peer] = set()
        self._opened: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_leaving = False

    def leave(self) -> None:
        """End ``run`` soon; for any thread and for signals."""
        self._is_leaving = True
        self._wake()

    def run(self) -> None:
        """Serve all machines."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._take_opened)
        with ThreadPoolExecutor(self._openers, thread_name_prefix="tftp") as self._pool:
            while not self._is_leaving:
                for key, _ in self._selector.select(TICK_S):
                    key.data()
                self._expire(time.monotonic())
        for running in list(self._running.values()):
            self._end(running)
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    # -- requests

    def _accept(self) -> None:
        for _ in range(MAX_TURN):
            try:
                packet, address = self._listener.recvfrom(MAX_PACKET)
            except OSError:
                return
            self._request(packet, address)

    def _request(self, packet: bytes, address: Peer) -> None:
        peer = (address[0], address[1])
        request = packets.read_request(packet)
        if request is None or peer in self._opening or peer in self._running:
            return  # nothing to answer, or asked again before our answer came
        if isinstance(request, Refusal):
            self._refuse(address, request)
            return
        busy = Counter(one[0] for one in (*self._running, *self._opening))
        is_full = busy.total() >= MAX_TRANSFERS
        if busy[peer[0]] >= MAX_PER_ADDRESS:
            if not self._make_room([one for one in self._running if one[0] == peer[0]]):
                return  # it asks again
        elif is_full and not self._make_room(self._running):
            return
        self._opening.add(peer)
        self._pool.submit(self._open, request, address)

    def _make_room(self, among: Iterable[Peer]) -> bool:
        """End the most silent transfer of these; False when all are under way.

        Whoever never answered goes first, since anyone can send requests that nobody waits for.
        """
        now = time.monotonic()
        silent = [one for one in map(self._running.__getitem__, among) if one.is_silent(now)]
        if silent:
            self._end(min(silent, key=lambda one: (one.transfer.sent > 0, one.heard)))
        return bool(silent)

    def _refuse(self, address: Peer, refusal: Refusal) -> None:
        with suppress(OSError):
            self._listener.sendto(packets.error(refusal), address)

    def _open(self, request: ReadRequest, address: Peer) -> None:
        """Runs in another thread; what it opened is handed to the loop."""
        sock: socket.socket | None = None
        try:
            sock = self._socket_to(address)
            found = self._names.open(request.name, address[0], self._own_url(sock))
        except Exception:
            log.exception("a request by TFTP failed")
            found = Refusal(packets.UNDEFINED, "The server failed.")
        with self._lock:
            self._opened.append(lambda: self._start(request, address, sock, found))
        self._wake()

    def _socket_to(self, address: Peer) -> socket.socket:
        sock = socket.socket(self._listener.family, socket.SOCK_DGRAM)
        host = self._listener.getsockname()[0]
        sock.bind((host, 0))
        sock.connect(address)
        sock.setblocking(False)
        return sock

    def _own_url(self, sock: socket.socket) -> str:
        host = sock.getsockname()[0].partition("%")[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self._http_port}/"

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_writer, b"\0")

    def _take_opened(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_reader, MAX_PACKET)
        with self._lock:
            opened, self._opened = self._opened, []
        for start in opened:
            start()

    # -- transfers

    def _start(
        self,
        request: ReadRequest,
        address: Peer,
        sock: socket.socket | None,
        found: Content | Refusal,
    ) -> None:
        peer = (address[0], address[1])
        self._opening.discard(peer)
        if isinstance(found, Refusal) or sock is None:
            if sock is not None:
                sock.close()
            if isinstance(found, Refusal):
                self._refuse(address, found)
            return
        transfer = Transfer(request, found.size, found.read)
        now = time.monotonic()
        running = _Running(peer, sock, found, transfer, now + transfer.timeout_s, now)
        self._running[peer] = running
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._receive(running))
        self._send(running, transfer.start)

    def _receive(self, running: _Running) -> None:
        for _ in range(MAX_TURN):
            if running.peer not in self._running:
                return
            try:
                packet = running.socket.recv(MAX_PACKET)
            except BlockingIOError:
                return
            except OSError:  # its port is closed
                self._end(running)
                return
            before = running.transfer.sent
            self._send(running, partial(running.transfer.receive, packet))
            if running.transfer.sent > before:
                running.heard = time.monotonic()
                running.due = running.heard + running.transfer.timeout_s

    def _expire(self, now: float) -> None:
        for running in [one for one in self._running.values() if one.due <= now]:
            running.due = now + running.transfer.timeout_s
            self._send(running, running.transfer.expire)

    def _send(self, running: _Running, step: Callable[[], list[bytes]]) -> None:
        """Send what a step gives; what doesn't leave now is sent again in time."""
        try:
            sending = step()
        except UNREADABLE as error:
            log.warning("a file could not be read", error=str(error))
            sending = [packets.error(Refusal(packets.UNDEFINED, "The file can't be read."))]
            running.transfer.is_over = True
        for packet in sending:
            try:
                running.socket.send(packet)
            except OSError:
                break
        if running.transfer.is_over:
            self._end(running)

    def _end(self, running: _Running) -> None:
        if self._running.pop(running.peer, None) is None:
            return
        self._selector.unregister(running.socket)
        running.socket.close()
        running.content.done(running.transfer.sent)
