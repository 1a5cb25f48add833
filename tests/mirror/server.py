# SPDX-License-Identifier: Apache-2.0
"""An HTTP server for made mirrors on 127.0.0.1: correct by itself, faulty on request.

    with MirrorServer(mirror, faults=[Fault(path="squashfs$", cut=1000, first=1)]) as server:
        server.source_url, server.log, server.set_faults(), server.reset()

Range, If-Range, ETag, Last-Modified, conditional requests, HEAD, keep-alive, sendfile;
requests in absolute form, so that it is an HTTP proxy for itself; TLS with a context.
A second listener, the canary, stands for another host: what reaches it is counted.
From a shell it stops by itself:

    python -m tests.mirror.server DIR --port 8000 --max-seconds 600
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.mirror.faults import NO_FAULT, Fault
from tests.mirror.handler import MirrorHandler
from tests.mirror.maker import Mirror
from tests.mirror.record import Record, Request

HOST = "127.0.0.1"
Rule = Fault | Mapping[str, Any]


class Listener(ThreadingHTTPServer):
    """The socket, its threads and the connections that are open."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int) -> None:
        super().__init__((HOST, port), handler)
        self.stopping = threading.Event()
        self.record = Record()
        self.connections: set[socket.socket] = set()

    @property
    def base(self) -> str:
        """The address with a slash at its end."""
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://{HOST}:{self.server_address[1]}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection before its thread starts."""
        with self.record.changed:
            self.connections.add(request)
            self.record.now_open += 1
            self.record.peak_open = max(self.record.peak_open, self.record.now_open)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection after its thread closed it."""
        super().shutdown_request(request)
        with self.record.changed:
            self.connections.discard(request)
            self.record.now_open -= 1
            self.record.changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that left; anything else is a defect of the server."""
        if isinstance(sys.exception(), ssl.SSLError):
            self._linger(request)
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _linger(self, request: socket.socket) -> None:
        """Read what the client still sends: a reset would take our alert away from it."""
        with suppress(OSError):
            request.settimeout(10)
            request.shutdown(socket.SHUT_WR)
            while request.recv(4096):
                pass

    def stop(self) -> None:
        """End the loop and every connection, and wait until the threads let go."""
        self.stopping.set()
        self.shutdown()
        with self.record.changed:
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client closed it first
            self.record.changed.wait_for(lambda: not self.connections, 5)
        self.server_close()


class CanaryHandler(BaseHTTPRequestHandler):
    """The other host: answers everything and remembers who came."""

    server: Listener
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """Answer with a few bytes."""
        headers = {k.lower(): v for k, v in self.headers.items()}
        seen = Request(self.command, self.path, headers, self.client_address[1], 200)
        with self.server.record.changed:
            self.server.record.log.append(seen)
        self.send_response(200)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"CANARY\n")

    do_HEAD = do_POST = do_CONNECT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Stay off the terminal."""


class MirrorServer:
    """Serve a made mirror or any folder while the ``with`` block lasts."""

    def __init__(
        self,
        served: Mirror | Path,
        faults: Iterable[Rule] = (),
        *,
        port: int = 0,
        rate: float = 0.0,
        latency: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.root = served.root if isinstance(served, Mirror) else Path(served)
        self.path = served.path if isinstance(served, Mirror) else ""
        self.rate = rate
        self.latency = latency
        self.listener = Listener(type("Handler", (MirrorHandler,), {"site": self}), port)
        if tls is not None:
            self.listener.socket = tls.wrap_socket(
                self.listener.socket, server_side=True, do_handshake_on_connect=False
            )
        self.canary = Listener(CanaryHandler, 0)
        self.set_faults(faults)

    def __enter__(self) -> Self:
        for listener in (self.listener, self.canary):
            threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.listener.stop()
        self.canary.stop()

    @property
    def url(self) -> str:
        """The address of the served folder, with a slash at its end."""
        return self.listener.base

    @property
    def source_url(self) -> str:
        """The address of the mirror's stream: what an administrator enters."""
        return self.url + self.path

    def set_faults(self, faults: Iterable[Rule] = ()) -> None:
        """Put these rules in place of the ones before; their counts start at nought."""
        rules = tuple(Fault.of(rule) for rule in faults)
        with self.listener.record.changed:
            self.faults = rules
            self.listener.record.counts.clear()

    def reset(self) -> None:
        """Forget the log and the counts; rules stay and start anew."""
        for listener in (self.listener, self.canary):
            listener.record.settle()
            with listener.record.changed:
                listener.record.log.clear()
                listener.record.counts.clear()
                listener.record.peak_open = listener.record.now_open

    def pick(self, method: str, path: str, headers: Mapping[str, str]) -> Fault:
        """The rule for this request. Each path counts for itself."""
        with self.listener.record.changed:
            for number, rule in enumerate(self.faults):
                if rule.matches(method, path, headers):
                    key = (number, path)
                    self.listener.record.counts[key] += 1
                    if rule.is_active(self.listener.record.counts[key]):
                        return rule
        return NO_FAULT

    @property
    def log(self) -> list[Request]:
        """Every request since the last reset, oldest first, once it is answered."""
        self.listener.record.settle()
        return self.log_now()

    def log_now(self) -> list[Request]:
        """The same without waiting for answers that are still on their way."""
        with self.listener.record.changed:
            return list(self.listener.record.log)

    def requests(self, path: str) -> list[Request]:
        """The requests of one path below the stream."""
        return [request for request in self.log if request.path == f"/{self.path}{path}"]

    @property
    def bytes_sent(self) -> int:
        """Body bytes since the last reset."""
        return sum(request.sent for request in self.log)

    @property
    def peak_connections(self) -> int:
        """The most connections that were open at once."""
        return self.listener.record.peak_open

    @property
    def canary_log(self) -> list[Request]:
        """What reached the other host; a client that is careful leaves it empty."""
        return list(self.canary.record.log)


def main(argv: list[str] | None = None) -> int:
    """Serve a folder until interrupted or until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", type=Path, help="a JSON list of rules")
    parser.add_argument("--rate", type=float, default=0, help="bytes a second per connection")
    parser.add_argument("--latency", type=float, default=0, help="seconds before each answer")
    parser.add_argument("--max-seconds", type=float, default=3600)
    options = parser.parse_args(argv)
    rules = json.loads(options.faults.read_text()) if options.faults else []
    server = MirrorServer(
        options.root, rules, port=options.port, rate=options.rate, latency=options.latency
    )
    with server:
        print(f"serving {server.url} for at most {options.max_seconds:.0f} s", flush=True)
        try:
            threading.Event().wait(options.max_seconds)
        except KeyboardInterrupt:
            print()
        print(f"{len(server.log)} requests, {server.bytes_sent} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
