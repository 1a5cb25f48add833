# SPDX-License-Identifier: Apache-2.0
"""Clients that send their bodies slowly never take the pages from others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rack.server import LiveRack, received, request
from tests.support import databases, live

FORM = "Content-Type: application/x-www-form-urlencoded"


class LiveWeb(LiveRack):
    """The pages in one process with few threads, on a port of their own."""

    role = "web"


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: databases.Databases
) -> Iterator[LiveWeb]:
    folder: Path = tmp_path_factory.mktemp("web")
    with LiveWeb(folder, sqlite_databases.migrated(), web_workers=1, web_threads=4) as running:
        yield running


def is_well(web: LiveWeb, source: str) -> bool:
    return web.say(request("/sign-in"), source).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("target", "fields", "begun"),
    [
        pytest.param("/sign-in", (FORM, "Content-Length: 500"), b"u", id="a form"),
        pytest.param("/sign-in", (FORM, "Content-Length: 500"), b"", id="no byte of a form"),
        pytest.param("/sign-in", (FORM, "Transfer-Encoding: chunked"), b"1\r\nu\r\n", id="chunks"),
        pytest.param("/sign-in", (FORM, "Content-Length: 99999999"), b"u", id="a large form"),
        pytest.param(
            "/sign-in", (FORM, "Content-Length: 9", "Expect: 100-continue"), b"", id="expect"
        ),
        pytest.param(
            "/api/v1/uploads/files/1",
            ("Tus-Resumable: 1.0.0", "Upload-Offset: 0", "Content-Length: 99999999"),
            b"u",
            id="an upload",
        ),
        pytest.param(
            "/MAAS/api/2.0/boot-resources/", ("Transfer-Encoding: chunked",), b"", id="rest"
        ),
    ],
)
@pytest.mark.parametrize("addresses", [1, 8])
def test_slow_bodies_leave_the_pages_to_others(
    addresses: int, target: str, fields: tuple[str, ...], begun: bytes, web: LiveWeb
) -> None:
    with ExitStack() as held:
        for number in range(200):
            source = f"127.0.1.{1 + number % addresses}"
            sock = held.enter_context(web.connection(source))
            sock.sendall(request(target, *fields, method="POST") + begun)
        for source in (live.HOST, "127.0.1.1", "127.0.2.1"):
            assert is_well(web, source)


def test_a_form_may_come_in_small_pieces(web: LiveWeb) -> None:
    body = b"username=nobody&password=nothing"
    data = request("/sign-in", FORM, f"Content-Length: {len(body)}", method="POST") + body
    with web.connection() as sock:
        for byte in data:
            sock.sendall(bytes([byte]))
        assert received(sock).startswith(b"HTTP/1.1 400")  # it lacks its token


def test_a_form_and_the_next_request_may_come_together(web: LiveWeb) -> None:
    body = b"username=nobody"
    first = request("/sign-in", FORM, f"Content-Length: {len(body)}", method="POST")
    answer = web.say(first.replace(b"close", b"keep-alive") + body + request("/sign-in"))
    assert answer.count(b"HTTP/1.1 ") == 2
