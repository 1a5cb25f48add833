# SPDX-License-Identifier: Apache-2.0
"""Which requests are so plain that no thread has to look at them."""

from __future__ import annotations

import socket

import pytest

from webapp.rack.plain import Plain, Reply, read_plain

LINE = "GET /images/a/b HTTP/1.1\r\n"


def read(*headers: str, line: str = LINE) -> Plain | None:
    return read_plain((line + "".join(f"{one}\r\n" for one in headers) + "\r\n").encode())


def test_machines_ask_plainly() -> None:
    assert read("Host: rack") == Plain(False, "/images/a/b", True)
    assert read("Host: rack", "Connection: close") == Plain(False, "/images/a/b", False)
    assert read("connection:Keep-Alive", "User-Agent: iPXE/1.21 (g12)", "Host: rack:5249") == Plain(
        False, "/images/a/b", True
    )
    head = read("Host: rack", "Accept: */*", line=LINE.replace("GET", "HEAD"))
    assert head == Plain(True, "/images/a/b", True)


@pytest.mark.parametrize(
    "header",
    [
        "Range: bytes=0-4",
        "If-None-Match: *",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Upgrade: h2c",
        "X-Forwarded-For: 192.0.2.1",
        "Host: another",
        "Connection: TE, close",
        "Connection: upgrade",
        "Accept : */*",
        " folded",
        "Accept: \x00",
        "Accept: ü",
        "User-Agent: " + 2048 * "x",
    ],
)
def test_what_else_is_asked_needs_a_thread(header: str) -> None:
    assert read("Host: rack", header) is None
    assert read(header, "Host: rack") is None


@pytest.mark.parametrize(
    "line",
    [
        "POST /images/a/b HTTP/1.1\r\n",
        "get /images/a/b HTTP/1.1\r\n",
        "GET /images/a/b HTTP/1.0\r\n",
        "GET /images//b HTTP/1.1\r\n",
        "GET /images/a/b/ HTTP/1.1\r\n",
        "GET /images/a%2fb HTTP/1.1\r\n",
        "GET /images/a?b HTTP/1.1\r\n",
        "GET http://rack/images/a/b HTTP/1.1\r\n",
        "GET  /images/a/b HTTP/1.1\r\n",
        "GET /images/a/b HTTP/1.1\n",
        "\r\nGET /images/a/b HTTP/1.1\r\n",
    ],
)
def test_other_lines_need_a_thread(line: str) -> None:
    assert read("Host: rack", line=line) is None


def test_a_request_that_is_not_alone_needs_a_thread() -> None:
    whole = f"{LINE}Host: rack\r\n\r\n".encode()
    assert read_plain(whole) is not None
    assert read_plain(whole + b"G") is None
    assert read_plain(whole[:-1]) is None
    assert read_plain(whole[:-2] + 2 * b"Connection: close\r\n" + b"\r\n") is None


@pytest.mark.parametrize("taken", [0, 3, 4, 6, 9])
def test_a_short_answer_counts_what_went_out_and_is_cut(taken: int) -> None:
    """taken: bytes that the connection takes of four of head and five of body."""

    class Narrow(socket.socket):
        def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
            return super().send(data[:taken], flags)

    sent: list[int] = []
    ours, theirs = socket.socketpair()
    narrow = Narrow(fileno=ours.detach())
    reply = Reply(b"head", b"bytes", None, sent.append, is_kept=True)
    with narrow, theirs:
        assert reply.send(narrow, 100) is (taken == 9)
        reply.close()
        assert sent == [max(0, taken - 4)]
        theirs.settimeout(5)
        assert theirs.recv(100) == b"headbytes"[:taken]
        if taken < 9:
            assert theirs.recv(100) == b""
