# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy in front of a real server, which loses requests, answers, or halves of answers."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Answer:
    """What is said in place of the server, which isn't asked."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


# What happens to a request: "" nothing; "lost" it never arrives; "late" it arrives and is
# done, but its answer doesn't come back; "cut" half of the answer's body comes; "hung" it
# arrives and nothing comes back while the client waits; an Answer.
Plan = Callable[[str, str], str | Answer]


class FaultyProxy:
    """Passes requests on; a context manager. seen: method and path of each that was done."""

    def __init__(self, port: int) -> None:
        self.plan: Plan = lambda method, path: ""
        self.seen: list[tuple[str, str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args: object) -> None:
                pass

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.plan(self.command, self.path)
                if fault == "lost":
                    return self._reset()
                if fault == "hung":
                    proxy.seen.append((self.command, self.path))
                    self.connection.recv(1)  # until the client gives up
                    return self._reset()
                if isinstance(fault, Answer):
                    proxy.seen.append((self.command, self.path))
                    return self._say(fault)
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                upstream.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                proxy.seen.append((self.command, self.path))
                if fault == "late":
                    return self._reset()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
                if fault == "cut":
                    self._reset()

            def _say(self, answer: Answer) -> None:
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def _reset(self) -> None:
                self.close_connection = True
                self.wfile.flush()
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()

            def finish(self) -> None:
                try:
                    super().finish()
                except (OSError, ValueError):
                    pass  # reset above

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def strike(self, method: str, mark: str, fault: str | Answer, times: int = 1) -> None:
        """Do this to the next requests of the method whose paths have the mark."""
        waiting = [fault] * times

        def plan(got: str, path: str) -> str | Answer:
            return waiting.pop() if waiting and got == method and mark in path else ""

        self.plan = plan

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
