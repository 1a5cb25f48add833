# SPDX-License-Identifier: Apache-2.0
"""What the event loop learns from the head of a request, before a thread sees it."""

from __future__ import annotations

import pytest

from webapp.server.incoming import (
    MAX_COLLECTED_BODY,
    Incoming,
    connection_option,
    read_head,
    sender,
)


def head(*fields: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", "Host: here", *fields, "", ""]).encode()


def test_a_head_that_is_not_whole_says_nothing() -> None:
    whole = head("Content-Length: 5")
    for cut in range(len(whole)):
        assert read_head(whole[:cut]) is None


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((), 0),
        (("Content-Length: 0",), 0),
        (("content-length:5",), 5),
        ((f"Content-Length: {MAX_COLLECTED_BODY}",), MAX_COLLECTED_BODY),
        # The parser refuses these; nothing waits for their bodies.
        (("Content-Length: 5", "Content-Length: 6"), 0),
        (("Content-Length: -5",), 0),
        (("Content-Length: 5x",), 0),
        (("Content-Length: \u00b2".encode().decode("latin-1"),), 0),
        (("Content-Length: " + "9" * 40,), 0),
    ],
)
def test_an_ordinary_body_is_waited_for(fields: tuple[str, ...], body: int) -> None:
    data = head(*fields)
    assert read_head(data + b"12") == Incoming(len(data) + body, False, ())


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("POST", (f"Content-Length: {MAX_COLLECTED_BODY + 1}",)),
        ("PUT", ("Transfer-Encoding: chunked",)),
        ("POST", ("Transfer-Encoding: chunked", "Content-Length: 5")),
        ("PATCH", ("Content-Length: 5", "Expect: 100-continue")),
        ("GET", ("Content-Length: 5",)),
        ("HEAD", ("Content-Length: 5",)),
    ],
)
def test_a_body_that_the_thread_reads_is_a_stream(method: str, fields: tuple[str, ...]) -> None:
    data = head(*fields, method=method)
    assert read_head(data) == Incoming(len(data), True, ())


def test_forwarded_addresses_are_read_in_order() -> None:
    found = read_head(head("X-Forwarded-For: 192.0.2.1, 192.0.2.2", "x-forwarded-for: 192.0.2.3"))
    assert found is not None
    assert found.forwarded == ("192.0.2.1", "192.0.2.2", "192.0.2.3")


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "expected"),
    [
        ("192.0.2.1", (), 0, "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.1",), 0, "192.0.2.1"),
        ("127.0.0.1", ("198.51.100.1",), 1, "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9", "198.51.100.1"), 1, "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9", "198.51.100.1"), 2, "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.1",), 2, "127.0.0.1"),
        ("127.0.0.1", ("nonsense",), 1, "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", (), 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", (), 0, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", (), 0, "fe80::/64"),
        ("::ffff:192.0.2.1", (), 0, "192.0.2.1"),
        ("", (), 0, ""),
    ],
)
def test_shares_go_by_the_real_client(
    peer: str, forwarded: tuple[str, ...], proxies: int, expected: str
) -> None:
    assert sender(peer, forwarded, proxies) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        (["close"], "close"),
        (["Upgrade, Close"], "close"),
        (["keep-alive, TE"], "keep-alive"),
        (["TE", "close"], "close"),
        (["keep-alive", "x ,CLOSE"], "close"),
        (["closer, x"], ""),
        (["", ",,"], ""),
    ],
)
def test_connection_is_a_list(values: list[str], expected: str) -> None:
    assert connection_option(values) == expected
