# SPDX-License-Identifier: Apache-2.0
"""The rack as it really runs: ``slipway rack`` under gunicorn, and raw sockets to it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from flask import Flask

from tests.support import commands, live
from tests.support.ports import keep_port
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db


class LiveRack:
    """One rack process on a port of its own; ``app`` publishes into its database."""

    role = "rack"

    def __init__(self, folder: Path, database_url: str, **settings: object) -> None:
        self.port = keep_port()
        values: dict[str, object] = {
            "data_dir": folder,
            "database_url": database_url,
            "defaults": "off",
            "secret_key": "a key for tests and for nothing else",
            f"{self.role}_bind": f"{live.HOST}:{self.port}",
            "rack_workers": 1,
            "rack_threads": 8,
            **settings,
        }
        self.environ = {f"SLIPWAY_{name.upper()}": str(value) for name, value in values.items()}
        self.log = folder / "rack.log"
        self.app: Flask = create_app(Settings.load(self.environ), plane="none")
        self.launch: Callable[..., commands.Running] = commands.start
        self.process: commands.Running | None = None

    @property
    def url(self) -> str:
        return f"http://{live.HOST}:{self.port}"

    def __enter__(self) -> Self:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY_")}
        self.process = self.launch([self.role], {**inherited, **self.environ}, self.log)
        live.wait_until(
            lambda: live.answers(self.url),
            f"the rack answers\n{self.log.read_text()}",
            alive=lambda: self.process is not None and self.process.poll() is None,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()

    def stop(self) -> int:
        """End it as systemd does, and return the exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    @contextmanager
    def connection(self, source: str = live.HOST, receive: int = 0) -> Iterator[socket.socket]:
        """A raw connection, from any address of the loopback network."""
        with socket.socket() as sock:
            if receive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            sock.settimeout(60)
            sock.bind((source, 0))
            sock.connect((live.HOST, self.port))
            yield sock

    def say(self, data: bytes, source: str = live.HOST) -> bytes:
        """Send bytes and return all that comes until the server closes."""
        with self.connection(source) as sock:
            sock.sendall(data)
            return received(sock)


def received(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    answer = bytearray()
    while data := sock.recv(1 << 16):
        answer += data
    return bytes(answer)


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    """A request that asks for the connection to be closed."""
    lines = [f"{method} {path} HTTP/1.1", "Host: rack", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")
