# SPDX-License-Identifier: Apache-2.0
"""A thousand machines in one thread, each of which compares every byte it gets."""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from tests.rack.server import LiveRack, request
from tests.support import live

PIECE = 256 << 10
PACES = 20  # reads a second of one that reads slowly
SILENCE_S = 60.0


class Download:
    """One machine and its file. waited_s: for the first byte of the file, refusals included."""

    def __init__(self, port: int, path: str, content: bytes, receive: int = 0) -> None:
        self._port, self._path, self._content, self._receive = port, path, content, receive
        self._began = time.monotonic()
        self.refused = 0
        self.ask()

    def ask(self) -> None:
        """Connect and ask for the file from its start."""
        self.sock = socket.socket()
        if self._receive:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive)
        self.sock.connect((live.HOST, self._port))
        self.sock.sendall(request(self._path))
        self.sock.setblocking(False)
        self._head = bytearray()
        self.status, self.got, self.is_right, self.waited_s = 0, 0, True, 0.0

    @property
    def is_whole(self) -> bool:
        """Whether it has all bytes of the file, and no other one."""
        return self.status == 200 and self.is_right and self.got == len(self._content)

    def take(self, most: int = PIECE) -> bool:
        """Read a piece; whether the answer has ended."""
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            self.sock.close()
            return True
        if not self.status:
            self._head += data
            head, blank, data = bytes(self._head).partition(b"\r\n\r\n")
            if not blank:
                return False
            self.status = int(head.split(None, 2)[1])
        if data and self.status == 200:
            self.waited_s = self.waited_s or time.monotonic() - self._began
            self.is_right &= data == self._content[self.got : self.got + len(data)]
            self.got += len(data)
        return False


def read_all(machines: Iterable[Download], pace: int = 0) -> None:
    """Read until all answers have ended; whoever is told to come back later does so at once.

    pace: bytes a second of each machine. Raises AssertionError when all are silent.
    """
    with selectors.DefaultSelector() as ready:
        for machine in machines:
            ready.register(machine.sock, selectors.EVENT_READ, machine)
        while ready.get_map():
            events = ready.select(SILENCE_S)
            assert events, f"nothing comes to {len(ready.get_map())} machines"
            for key, _ in events:
                machine = key.data
                if not machine.take(pace // PACES or PIECE):
                    continue
                ready.unregister(key.fileobj)
                if machine.status == 503:
                    machine.refused += 1
                    machine.ask()
                    ready.register(machine.sock, selectors.EVENT_READ, machine)
            if pace:
                time.sleep(1 / PACES)


def kill_all(server: LiveRack) -> None:
    """End all processes of a server as a power cut does."""
    assert server.process is not None
    pids = [server.process.pid, *live.descendants(server.process.pid)]
    for pid in pids:
        live.kill(pid, signal.SIGKILL)
    server.stop()
    # One that is killed keeps its port until it has its turn.
    live.wait_until(lambda: not any(map(live.command_line, pids)), "all processes have ended")


def peak_mib(pids: Iterable[int]) -> int:
    """The most memory that each of these processes had, together."""
    total = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.partition("VmHWM:")[2].split()[0])
    return total >> 10
