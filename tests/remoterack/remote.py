# SPDX-License-Identifier: Apache-2.0
"""A rack elsewhere as it really runs, machines at it, and a line between that can be altered."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.rack.server import LiveRack
from tests.support import commands, live
from tests.support.ports import keep_port
from webapp.extensions import db
from webapp.services.mirror import keys, publishing

PATH = "/images/ubuntu/amd64/ga-24.04/noble/stable"


@dataclass
class Answer:
    """What a machine got. is_complete: as many bytes as were promised."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_complete: bool
    first_byte_s: float = 0.0

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


def fetch(
    url: str, path: str, *, method: str = "GET", sent: bytes | None = None, **headers: str
) -> Answer:
    """One request by a machine that notices a body that ends early."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    began = time.monotonic()
    with closing(http.client.HTTPConnection(host, int(port), timeout=60)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, sent, named)
        answer = connection.getresponse()
        body, first = bytearray(), 0.0
        try:
            while piece := answer.read1(1 << 16):
                first = first or time.monotonic() - began
                body += piece
            length = answer.headers.get("Content-Length")
            is_complete = length is None or len(body) == int(length)
        except (http.client.HTTPException, OSError):
            is_complete = False
        return Answer(answer.status, dict(answer.headers), bytes(body), is_complete, first)


def fetch_all(url: str, path: str, count: int) -> list[Answer]:
    """Many machines at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: fetch(url, path), range(count)))


class RemoteRack(LiveRack):
    """``slipway run --role rack`` with a folder of its own; see LiveRack for the rest."""

    def __init__(self, folder: Path, region_url: str, fingerprint: str, **more: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = keep_port()
        values: dict[str, object] = {
            "data_dir": folder,
            "rack_bind": f"{live.HOST}:{self.port}",
            "rack_threads": 64,
            "region_url": region_url,
            "rack_fingerprint": fingerprint,
            **more,
        }
        self.environ = {f"SLIPWAY_{name.upper()}": str(value) for name, value in values.items()}
        self.log = folder / "rack.log"
        self.launch = lambda args, env, log: commands.start(["run", "--role", "rack"], env, log)
        self.process: commands.Running | None = None

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def status(self) -> dict[str, Any]:
        """What it said last."""
        path = self.folder / "rack" / "status.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def pids(self) -> list[int]:
        """The processes that serve: gunicorn's own and its worker, the worker last."""
        assert self.process is not None
        return live.descendants(self.process.pid)

    def blob(self, sha256: str) -> Path:
        """Where it keeps bytes."""
        return self.folder / "store" / "sha256" / sha256[:2] / sha256

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            live.wait_until(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from None

    def wait_for(self, path: str, status: int = 200) -> Answer:
        """Ask until it answers with this status and all that it promised."""
        found: list[Answer] = []

        def is_there() -> bool:
            found[:] = [fetch(self.url, path)]
            return found[0].status == status and found[0].is_complete

        self.wait_until(is_there, f"{status} for {path}")
        return found[0]


def publish(region: LiveRack) -> str:
    """Sign what the region holds; the fingerprint of its key."""
    with region.app.app_context():
        publishing.reconcile()
        found = keys.ensure().fingerprint
        db.session.remove()
    return found


class Line:
    """A line to a server that counts, slows, alters or cuts what comes through.

    alter: gets the path and the whole body, and returns another body. rate: bytes a second.
    tls: with what it answers by https.
    """

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self._scheme = "https" if tls else "http"
        self.alter: Callable[[str, bytes], bytes] = lambda path, body: body
        self.rate = 0
        self.is_cut = False
        self.is_short = False  # what was altered keeps its length in the head
        self.bytes: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.gate: Gate = Gate()
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                line.answer(self)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer((live.HOST, 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://{live.HOST}:{self._server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Fetch it all, then send it on as this line does."""
        path = handler.path
        if self.is_cut:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        named = {name: handler.headers[name] for name in handler.headers if name != "Host"}
        # Whoever plays old answers asks for all of them.
        for name in ("Connection", "If-None-Match", "Content-Length"):
            named.pop(name, None)
        sent = handler.rfile.read(int(handler.headers.get("Content-Length", 0))) or None
        answer = fetch(self.target, path, method=handler.command, sent=sent, **named)
        body = self.alter(path, answer.body) if answer.status in (200, 206) else answer.body
        self.requests[path] += 1
        handler.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name not in ("Content-Length", "Connection", "Date", "Server"):
                handler.send_header(name, value)
        length = len(answer.body) if self.is_short else len(body)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        try:
            for at in range(0, len(body), 1 << 15):
                self.gate.pass_by(path, at)
                handler.wfile.write(body[at : at + (1 << 15)])
                self.bytes[path] += len(body[at : at + (1 << 15)])
                if self.rate:
                    time.sleep((1 << 15) / self.rate)
        except OSError:
            handler.close_connection = True
        if len(body) < length:
            handler.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass
class Gate:
    """Holds back a path's bytes from an offset on, until it's opened."""

    path: str = "never"
    offset: int = 0
    is_open: threading.Event = field(default_factory=threading.Event)

    def pass_by(self, path: str, at: int) -> None:
        if self.path in path and at >= self.offset:
            self.is_open.wait(60)
