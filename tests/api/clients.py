# SPDX-License-Identifier: Apache-2.0
"""What each MAAS client sends, byte for byte (rules: rest-keys, rest-arguments).

A ``Dialect`` turns a call into a request as one client builds it; a ``Script``
sends it to the app and looks at what must hold for every answer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

API = "/MAAS/api/2.0/"
BOUNDARY = "===============2791450846718540239=="
NONCE = 'oauth_nonce="113209482305928460871764912345", oauth_timestamp="1795323109"'

Value = str | bytes | Sequence[str]


@dataclass(frozen=True)
class Request:
    """One request as it goes over the wire; ``target`` is path and query."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Dialect:
    """The ``maas`` command line: no Accept, no realm, arguments of POST and PUT as base64 parts."""

    name = "cli"
    accept: ClassVar[dict[str, str]] = {"Accept-Encoding": "gzip, deflate"}

    def authorization(self, key: str) -> str:
        """The header that signs a request."""
        consumer, token, secret = key.split(":")
        return (
            f'OAuth {NONCE}, oauth_version="1.0", oauth_signature_method="PLAINTEXT", '
            f'oauth_consumer_key="{consumer}", oauth_token="{token}", '
            f'oauth_signature="%26{secret}"'
        )

    def request(
        self, method: str, path: str, key: str, op: str, values: dict[str, Value]
    ) -> Request:
        """A call as this client sends it."""
        query: list[tuple[str, str]] = [("op", op)] if op else []
        headers, body = dict(self.accept), b""
        if method in ("GET", "DELETE"):
            query += [(name, text) for name, text in pairs(values) if isinstance(text, str)]
            if method == "DELETE":
                more, body = self.body_of_delete()
                headers |= more
        else:
            more, body = self.body(values)
            headers |= more
        if key:
            headers["Authorization"] = self.authorization(key)
        if method != "GET":
            headers["Content-Length"] = str(len(body))
        return Request(method, path + (f"?{urlencode(query)}" if query else ""), headers, body)

    def body(self, values: dict[str, Value]) -> tuple[dict[str, str], bytes]:
        """Headers and body of a POST or PUT."""
        return multipart(values) if values else ({}, b"")

    def body_of_delete(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of a DELETE."""
        return {}, b""


class Libmaas(Dialect):
    """python-libmaas: a realm, and a multipart body without any part where it has no arguments."""

    name = "libmaas"
    accept: ClassVar[dict[str, str]] = {
        "Accept": "application/json,*/*;q=0.9",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": "Python/3.11 aiohttp/3.8.6",
    }

    def authorization(self, key: str) -> str:
        return super().authorization(key).replace("OAuth ", 'OAuth realm="OAuth", ', 1)

    def body(self, values: dict[str, Value]) -> tuple[dict[str, str], bytes]:
        return multipart(values)

    def body_of_delete(self) -> tuple[dict[str, str], bytes]:
        return multipart({})


class Go(Dialect):
    """gomaasclient and the Terraform provider: urlencoded, dashes, parameters in random order."""

    name = "go"
    accept: ClassVar[dict[str, str]] = {
        "User-Agent": "Go-http-client/1.1",
        "Accept-Encoding": "gzip",
    }

    def authorization(self, key: str) -> str:
        consumer, token, secret = key.split(":")
        return (
            f'OAuth oauth_signature="%26{secret}",oauth_token="{token}",'
            'realm="MAAS API",oauth_version="1.0",oauth_signature_method="PLAINTEXT",'
            f'oauth_consumer_key="{consumer}",{NONCE.replace(", ", ",")}'
        )

    def request(
        self, method: str, path: str, key: str, op: str, values: dict[str, Value]
    ) -> Request:
        request = super().request(method, path, key, op.replace("_", "-"), values)
        if method == "POST" and not op:  # old juju sends an empty one
            return Request(method, f"{path}?op=", request.headers, request.body)
        return request

    def body(self, values: dict[str, Value]) -> tuple[dict[str, str], bytes]:
        # A file goes as text here: the Go client sends keyrings in base64.
        plain = {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in values.items()
        }
        body = urlencode(pairs(plain)).encode()
        return {"Content-Type": "application/x-www-form-urlencoded"}, body


DIALECTS = (Dialect(), Libmaas(), Go())


def multipart(values: dict[str, Value]) -> tuple[dict[str, str], bytes]:
    """The multipart body of both Python clients: every part base64, no line's end at the end."""
    parts = [_part(name, value) for name, value in pairs(values)]
    opening = [f"--{BOUNDARY}\r\n{part}\r\n" for part in parts] or [f"--{BOUNDARY}\r\n\r\n"]
    headers = {
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"',
    }
    return headers, ("".join(opening) + f"--{BOUNDARY}--").encode()


def _part(name: str, value: str | bytes) -> str:
    is_file = isinstance(value, bytes)
    content = value if isinstance(value, bytes) else value.encode()
    wrapped = base64.encodebytes(content).decode().replace("\n", "\r\n")
    filename = f'; filename="{name}"' if is_file else ""
    kind = "application/octet-stream" if is_file else 'text/plain; charset="utf-8"'
    return (
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: form-data; name="{name}"{filename}\r\n'
        "MIME-Version: 1.0\r\n"
        f"Content-Type: {kind}\r\n"
        f"\r\n{wrapped}"
    )


def pairs(values: dict[str, Value]) -> list[tuple[str, Any]]:
    """Name and value, once for each value of a list."""
    return [
        (name, one)
        for name, value in values.items()
        for one in ([value] if isinstance(value, str | bytes) else value)
    ]


class Script:
    """One stock client with one API key; "" for none."""

    def __init__(self, client: FlaskClient, key: str = "", dialect: Dialect = DIALECTS[0]) -> None:
        self.client, self.key, self.dialect = client, key, dialect

    def get(self, path: str, op: str = "", **values: Value) -> TestResponse:
        """Read."""
        return self.call("GET", path, op, values)

    def post(self, path: str, op: str = "", **values: Value) -> TestResponse:
        """Create, or do something."""
        return self.call("POST", path, op, values)

    def put(self, path: str, **values: Value) -> TestResponse:
        """Change."""
        return self.call("PUT", path, "", values)

    def delete(self, path: str) -> TestResponse:
        """Delete."""
        return self.call("DELETE", path, "", {})

    def call(self, method: str, path: str, op: str, values: dict[str, Value]) -> TestResponse:
        """Build a request in this client's dialect and send it."""
        path = path if path.startswith("/") else API + path
        return self.send(self.dialect.request(method, path, self.key, op, values))

    def send(self, request: Request) -> TestResponse:
        """Send a request as it is, and look at what holds for every answer."""
        headers = dict(request.headers)
        content_type = headers.pop("Content-Type", None)
        headers.pop("Content-Length", None)  # the test client counts by itself
        answer = self.client.open(
            request.target,
            method=request.method,
            headers=headers,
            data=request.body,
            content_type=content_type,
        )
        check(answer)
        return answer


def check(answer: TestResponse) -> None:
    """No cookie, no redirect, no fault of ours, a content type, a reason in mixed case.

    503 is none if it says when to try again.
    """
    assert "Set-Cookie" not in answer.headers
    is_busy = answer.status_code == 503 and answer.headers.get("Retry-After", "").isdigit()
    assert answer.status_code < 300 or 400 <= answer.status_code < 500 or is_busy, answer.text
    assert answer.content_type, "the stock command line crashes without one"
    assert answer.status == f"{answer.status_code} {HTTPStatus(answer.status_code).phrase}"
    if answer.content_type.startswith("application/json"):
        json.loads(answer.data)  # libmaas crashes on an empty body of this type
    else:
        assert answer.content_type.startswith("text/plain")
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == 'OAuth realm="OAuth"'
    assert answer.headers["Cache-Control"] == "no-store"


def oauth(key: str, **changed: str) -> dict[str, str]:
    """An Authorization header with some of its fields changed; for what no client sends."""
    consumer, token, secret = key.split(":")
    fields = {
        "oauth_signature_method": "PLAINTEXT",
        "oauth_consumer_key": consumer,
        "oauth_token": token,
        "oauth_signature": f"&{secret}",
    } | changed
    joined = ", ".join(f'{name}="{quote(value)}"' for name, value in fields.items())
    return {"Authorization": f"OAuth {joined}"}
