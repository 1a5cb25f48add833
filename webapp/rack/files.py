# SPDX-License-Identifier: Apache-2.0
"""The whole rack port as one WSGI callable: published files, and nothing else.

Machines ask in storms, so a request is answered without building a Flask
request: one lookup in the published map, one open file, one sendfile. No
path of the file system is ever made from a URL.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from webapp.rack.bodies import FileBody, StreamBody, fit_buffer
from webapp.rack.conditions import Decision, Facts, decide
from webapp.rack.proofs import Proofs
from webapp.services.images.fetching import Fetches
from webapp.services.images.published import Located
from webapp.services.images.serving import NamesUnread, PublishedMap
from webapp.services.system.recorder import Recorder
from webapp.storage.base import BlobReader, BlobStore
from webapp.storage.errors import StoreProblem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

PREFIX = "/images/"
SMALL = 64 << 10  # bytes up to which reading a file is cheaper than sendfile
RETRY_AFTER_S = "5"

_STATUS = {
    200: "200 OK",
    206: "206 Partial Content",
    304: "304 Not Modified",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    412: "412 Precondition Failed",
    416: "416 Range Not Satisfiable",
    503: "503 Service Unavailable",
}
_SELF_ANSWERED = frozenset({"HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE"})


class Files:
    """Answers GET and HEAD of published names."""

    def __init__(
        self,
        published: PublishedMap,
        store: BlobStore,
        recorder: Recorder,
        proofs: Proofs,
        fetches: Fetches,
        *,
        accel_prefix: str = "",
        trusted_proxies: int = 0,
    ) -> None:
        self.published = published
        self.recorder = recorder
        self._store = store
        self._proofs = proofs
        self.fetches = fetches
        self._accel_prefix = accel_prefix
        self._trusted_proxies = trusted_proxies

    def close(self) -> None:
        """Write what was seen and end the threads."""
        self.recorder.close()
        self.fetches.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request = _Request(environ, start_response, self._actor(environ))
        if request.method not in ("GET", "HEAD"):
            return request.say(405, "Only GET and HEAD.", [("Allow", "GET, HEAD")])
        if not request.path.startswith(PREFIX):
            return request.say(404, "There is nothing here.")
        try:
            found = self.published.locate(request.name)
            if found is None:
                return request.say(404, "No image of this name is published.")
            answer = self._answer(request, found)
            return self._answer_again(request, found) if answer is None else answer
        except NamesUnread as problem:
            return request.say(503, problem.what, [("Retry-After", RETRY_AFTER_S)])

    def _answer(self, request: _Request, found: Located) -> Iterable[bytes] | None:
        """Answer with the bytes found; None when the store does not have them."""
        etag = f'"{found.sha256}"'
        facts = Facts(found.size, etag, found.modified, found.is_date_strong)
        decision = decide(request.method, request.environ, facts)
        headers = _validators(found, etag)
        if decision.status == 304:
            request.start(304, headers)
            return ()
        if decision.status == 412:
            return request.say(412, "The file has changed.", [("ETag", etag)])
        if decision.status == 416:
            size = ("Content-Range", f"bytes */{found.size}")
            return request.say(416, f"The file has {found.size} bytes.", [("ETag", etag), size])
        headers += _content(found, decision)
        if self._accel_prefix and request.method == "GET":
            answer = self._hand_over(request, found, decision, headers)
            if answer is not None:
                return answer
        reader = self._proofs.open(found) if found.is_ready else None
        if reader is None:
            return None
        if request.method == "HEAD":
            reader.close()
            request.start(200, headers)
            return ()
        return self._send(request, found, decision, headers, reader)

    def _answer_again(self, request: _Request, found: Located) -> Iterable[bytes]:
        """Decide what it means that named bytes are not in the store.

        Either the name stopped meaning them within the last second, or we lost them.
        """
        now_found = self.published.names(refresh=True).locate(request.name)
        if now_found is None:
            return request.say(404, "No image of this name is published.")
        answer = self._answer(request, now_found) if now_found != found else None
        if answer is not None:
            return answer
        self._proofs.report(now_found)
        self._record("image.unavailable", request, now_found.version, 503, 0)
        return request.say(
            503, "The file is damaged or missing here.", [("Retry-After", RETRY_AFTER_S)]
        )

    def _send(
        self,
        request: _Request,
        found: Located,
        decision: Decision,
        headers: Headers,
        reader: BlobReader,
    ) -> Iterable[bytes] | None:
        """Send the bytes decided on; None when not even the first of them can be read."""
        length = decision.stop - decision.start
        handle = reader.fileno()
        wrapper = request.environ.get("wsgi.file_wrapper")

        def done(sent: int) -> None:
            reader.close()
            self.fetches.end(found.set_id)
            self._delivered(request, found, decision, sent)

        if length > SMALL and request.socket is not None:
            fit_buffer(request.socket)
        if handle is not None and wrapper is not None and length > SMALL:
            self.fetches.begin(found.set_id)
            request.start(decision.status, headers)
            body = FileBody(handle, decision.start, decision.stop, request.cut, done)
            hand_over = request.environ.get("slipway.hand_over")
            if hand_over is not None:
                hand_over(body)  # the event loop sends it, and this thread is free
                return ()
            sent_file: Iterable[bytes] = wrapper(body, 1 << 20)
            return sent_file
        chunks = reader.chunks(decision.start, decision.stop)
        try:
            first = next(chunks, b"")
        except StoreProblem:
            reader.close()
            return None
        self.fetches.begin(found.set_id)
        request.start(decision.status, headers)
        if len(first) == length:
            done(length)
            return (first,)
        pieces = self._proofs.watched(chain((first,), chunks), found)
        return StreamBody(pieces, length, request.cut, done)

    def _hand_over(
        self, request: _Request, found: Located, decision: Decision, headers: Headers
    ) -> Iterable[bytes] | None:
        """Let nginx send the file, ranges included; None when that cannot be.

        nginx does not know our ETag while it evaluates If-Match, so those few
        requests are answered by ourselves. The promised length stays in the
        header: a client that came here past nginx sees a cut body, not an empty file.
        """
        path = self._store.relative_path(found.sha256)
        if path is None or not _SELF_ANSWERED.isdisjoint(request.environ):
            return None
        if not found.is_ready or not self._proofs.is_proved(found):
            return None  # it is opened, and hashed, before anything is handed over
        # nginx makes the range headers itself, from the client's own Range.
        ours = ("Content-Length", "Content-Range", "Accept-Ranges")
        whole = [header for header in headers if header[0] not in ours]
        whole.append(("Content-Length", str(found.size)))
        whole.append(("X-Accel-Redirect", quote(self._accel_prefix + path)))
        request.start(200, whole)
        self.fetches.begin(found.set_id)
        self.fetches.end(found.set_id)
        self._delivered(request, found, decision, decision.stop - decision.start)
        return StreamBody(iter(()), found.size, request.cut, lambda sent: None)

    def _delivered(self, request: _Request, found: Located, decision: Decision, sent: int) -> None:
        self._record("image.fetched", request, found.version, decision.status, sent)

    def _record(self, kind: str, request: _Request, version: str, status: int, sent: int) -> None:
        name = request.name
        if not name.isascii():  # as users write it, not as WSGI does
            name = name.encode("latin-1").decode("utf-8", "replace")
        image, _, file = name.rpartition("/")
        self.recorder.add(
            kind, request.actor, image, version=version, status=status, size=sent, file=file
        )

    def _actor(self, environ: Environ) -> str:
        """The machine's address; behind trusted proxies the one that the outermost saw."""
        peer: str = environ.get("REMOTE_ADDR", "")
        if not self._trusted_proxies:
            return peer
        hops = [hop.strip() for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")]
        if len(hops) < self._trusted_proxies:
            return peer
        try:
            return str(ipaddress.ip_address(hops[-self._trusted_proxies]))
        except ValueError:
            return peer


class _Request:
    """The few things of a WSGI request that an answer needs."""

    __slots__ = ("_start_response", "actor", "environ", "method", "path")

    def __init__(self, environ: Environ, start_response: StartResponse, actor: str) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("PATH_INFO", "")
        self.actor = actor
        self._start_response = start_response

    @property
    def name(self) -> str:
        return self.path[len(PREFIX) :]

    @property
    def socket(self) -> socket.socket | None:
        """The connection, where the server shows it."""
        return self.environ.get("gunicorn.socket")

    def start(self, status: int, headers: Headers) -> None:
        self._start_response(_STATUS[status], headers)

    def say(self, status: int, line: str, headers: Headers | None = None) -> Iterable[bytes]:
        """Answer with one line of text."""
        text = (line + "\n").encode()
        plain = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(text))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        self.start(status, plain + (headers or []))
        return (text,) if self.method != "HEAD" else ()

    def cut(self) -> None:
        """Break the connection, so that a short body is never taken for a whole one."""
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client is gone already


def _validators(found: Located, etag: str) -> Headers:
    """What a 304 repeats (RFC 9110 15.4.5) and every other answer has as well."""
    headers = [
        ("ETag", etag),
        ("Last-Modified", found.last_modified),
        ("X-Slipway-Version", quote(found.version)),
    ]
    if found.is_pinned:
        headers.append(("Cache-Control", "public, max-age=31536000, immutable"))
    else:
        headers.append(("Cache-Control", "no-cache"))
        headers.append(("Content-Location", PREFIX + found.pinned_path))
    return headers


def _content(found: Located, decision: Decision) -> Headers:
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(decision.stop - decision.start)),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if decision.status == 206:
        headers.append(
            ("Content-Range", f"bytes {decision.start}-{decision.stop - 1}/{found.size}")
        )
    return headers
