# SPDX-License-Identifier: Apache-2.0
"""The few things of a request that machines' answers need, and answers of a few bytes."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from webapp.rack.bodies import cut
from webapp.rack.conditions import Decision, Facts, decide
from webapp.services.images.published import Located, PublishedNames

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

PREFIX = "/images/"
FOREVER = ("Cache-Control", "public, max-age=31536000, immutable")

STATUS = {
    200: "200 OK",
    206: "206 Partial Content",
    302: "302 Found",
    304: "304 Not Modified",
    400: "400 Bad Request",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    412: "412 Precondition Failed",
    416: "416 Range Not Satisfiable",
    503: "503 Service Unavailable",
}


class Request:
    """The few things of a WSGI request that an answer needs.

    mirror: the prefix of the local mirror, if that's what is asked.
    """

    __slots__ = ("_mirror", "_start_response", "actor", "environ", "method", "path")

    def __init__(
        self, environ: Environ, start_response: StartResponse, actor: str, mirror: str = ""
    ) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("PATH_INFO", "")
        self.actor = actor
        self._start_response = start_response
        self._mirror = mirror

    @property
    def is_of_mirror(self) -> bool:
        """Whether it asks the local mirror, whose prefix it was made with."""
        return bool(self._mirror)

    @property
    def name(self) -> str:
        """What is asked for, below the prefix."""
        return self.path[len(self._mirror or PREFIX) :]

    def locate(self, names: PublishedNames, name: str) -> Located | None:
        """What a name means where this request asks."""
        return names.locate_item(name) if self.is_of_mirror else names.locate(name)

    @property
    def socket(self) -> socket.socket | None:
        """The connection, where the server shows it."""
        return self.environ.get("gunicorn.socket")

    def start(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        self._start_response(STATUS[status], headers)

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
        cut(self.socket)

    def give(
        self, content: bytes, sha256: str, modified: int, content_type: str, *, is_fixed: bool
    ) -> tuple[Iterable[bytes], int, int]:
        """Answer with bytes from memory. Returns the body, the status and the bytes sent.

        is_fixed: the name never means other bytes.
        """
        etag = f'"{sha256}"'
        decision = decide(self.method, self.environ, Facts(len(content), etag, modified, False))
        headers = [
            ("ETag", etag),
            ("Last-Modified", formatdate(modified, usegmt=True)),
            FOREVER if is_fixed else ("Cache-Control", "no-cache"),
            repr_digest(sha256),
        ]
        if decision.status in (304, 412):
            self.start(decision.status, headers)
            return (), decision.status, 0
        body = content[decision.start : decision.stop]
        headers += [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Accept-Ranges", "bytes"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if decision.status in (206, 416):
            is_part = decision.status == 206
            part = f"{decision.start}-{decision.stop - 1}" if is_part else "*"
            headers.append(("Content-Range", f"bytes {part}/{len(content)}"))
        self.start(decision.status, headers)
        return ((body,) if self.method != "HEAD" else ()), decision.status, len(body)


def repr_digest(sha256: str) -> tuple[str, str]:
    """The digest of the whole representation (rule: repr-digest)."""
    value = base64.b64encode(bytes.fromhex(sha256)).decode()
    return ("Repr-Digest", f"sha-256=:{value}:")


def type_of(name: str) -> str:
    """The media type of a document."""
    kinds = {"json": "application/json", "key": "application/pgp-keys"}
    return kinds.get(name.rpartition(".")[2], "text/plain; charset=utf-8")


def validators(found: Located, etag: str) -> Headers:
    """What a 304 repeats (RFC 9110 15.4.5) and every other answer has as well."""
    headers = [
        ("ETag", etag),
        ("Last-Modified", found.last_modified),
        ("X-Slipway-Version", quote(found.version)),
        repr_digest(found.sha256),
    ]
    if found.restriction is not None:
        headers.append(("Cache-Control", "private, no-store"))  # no cache asks who may have it
    elif found.is_pinned:
        headers.append(FOREVER)
    else:
        headers.append(("Cache-Control", "no-cache"))
        headers.append(("Content-Location", PREFIX + found.pinned_path))
    return headers


def content(name: str, found: Located, decision: Decision) -> Headers:
    """What an answer with bytes, or to HEAD, says of them."""
    # UEFI firmware boots only what is called so (rule: efi-type).
    kind = "application/efi" if name.endswith(".efi") else "application/octet-stream"
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(decision.stop - decision.start)),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if decision.status == 206:
        headers.append(
            ("Content-Range", f"bytes {decision.start}-{decision.stop - 1}/{found.size}")
        )
    return headers
