# SPDX-License-Identifier: Apache-2.0
"""The TFTP server in a thread, and a client that can lose packets."""

from __future__ import annotations

import random
import socket
import struct
import threading
from typing import Self

from flask import Flask

from webapp import rack
from webapp.server import tftp


class Server:
    """The server in a thread."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, tftp.BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self.server = tftp.TftpServer(listener, rack.tftp_names(app), "5248")
        self._thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.leave()
        self._thread.join()
        self._listener.close()

    def get(
        self, name: str, *, source: str = "127.0.0.1", loss: float = 0, **options: int
    ) -> bytes:
        """A whole file, or an error's words. Raises TimeoutError."""
        return get(self.port, name, source=source, loss=loss, **options)


def get(
    port: int, name: str, *, source: str = "127.0.0.1", loss: float = 0, **options: int
) -> bytes:
    """A whole file, or an error's words. Raises TimeoutError."""
    words = ["octet", *(w for pair in options.items() for w in map(str, pair))]
    request = b"\0\1" + b"".join(word.encode() + b"\0" for word in [name, *words])
    chance = random.Random(source)
    window, content, expected, since = options.get("windowsize", 1), bytearray(), 1, 0
    block = 512
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.bind((source, 0))
        sock.sendto(request, ("127.0.0.1", port))
        while True:
            packet, peer = sock.recvfrom(1 << 16)
            if chance.random() < loss:
                continue
            kind, number = struct.unpack_from("!HH", packet)
            if kind == 5:
                return packet[4:-1]
            if kind == 6:
                fields = packet[2:].split(b"\0")
                agreed = dict(zip(fields[::2], fields[1::2], strict=False))
                block = int(agreed.get(b"blksize", b"512"))
                sock.sendto(struct.pack("!HH", 4, 0), peer)
                continue
            is_next = number == expected & 0xFFFF
            if is_next:
                content += packet[4:]
                expected, since = expected + 1, since + 1
            is_last = is_next and len(packet) < 4 + block
            if is_last or not is_next or since == window:
                since = 0
                sock.sendto(struct.pack("!HH", 4, (expected - 1) & 0xFFFF), peer)
            if is_last:
                return bytes(content)
