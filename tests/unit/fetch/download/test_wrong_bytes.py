# SPDX-License-Identifier: Apache-2.0
"""Downloads of wrong bytes and wrong ranges: nothing wrong is ever stored."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.unit.fetch.download.outcome import (
    CONTENT,
    OTHER,
    SHA256,
    SIZE,
    Outcome,
    begin,
    partial_of,
    stored,
)
from tests.unit.fetch.servers import RawServer, request_of, saying
from webapp.storage.filesystem import FilesystemStore

# -- wrong bytes


@pytest.mark.parametrize(
    ("fault", "code", "most"),
    [
        ({"extra": 1}, "size-mismatch", 0),
        ({"truncate": SIZE - 1}, "size-mismatch", 0),
        ({"length": SIZE + 1}, "size-mismatch", 0),
        ({"length": SIZE - 1}, "size-mismatch", 0),
        ({"length": 0}, "size-mismatch", 0),
        ({"length": 1 << 50}, "size-mismatch", 0),
        ({"extra": 1, "is_chunked": True}, "size-mismatch", SIZE),
        ({"extra": 1, "no_length": True}, "size-mismatch", SIZE),
        ({"repeat": ["x", 1 << 32]}, "size-mismatch", 0),
        ({"repeat": ["x", 1 << 32], "is_chunked": True}, "size-mismatch", SIZE),
        ({"repeat": ["x", 1 << 32], "no_length": True}, "size-mismatch", SIZE),
        ({"is_gzipped": True}, "http-encoding", 0),
        ({"gzip_bomb": 1 << 40}, "size-mismatch", SIZE),
        ({"flip": 1_000_000}, "hash-mismatch", SIZE),
        ({"flip": 0, "is_chunked": True}, "hash-mismatch", SIZE),
        ({"repeat": ["x", SIZE]}, "hash-mismatch", SIZE),
    ],
    ids=str,
)
def test_a_file_that_is_not_the_signed_one_is_never_stored(
    server: MirrorServer, store: FilesystemStore, fault: dict[str, Any], code: str, most: int
) -> None:
    server.set_faults([{"path": "image", **fault}])
    outcome = Outcome(store, server.url + "image")
    assert outcome.problem is not None
    assert outcome.code == code
    assert (outcome.problem.expected != "", outcome.problem.got != "") == (True, True)
    assert store.stat(SHA256) is None
    assert max(outcome.received, default=0) <= most
    assert partial_of(store) <= SIZE


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
@pytest.mark.parametrize("more", [{}, {"is_chunked": True}, {"cut": SIZE // 2, "first": 1}])
def test_the_raw_bytes_count_when_a_server_calls_them_gzipped(
    server: MirrorServer, store: FilesystemStore, coding: str, more: dict[str, Any]
) -> None:
    server.set_faults([{"path": "image", "headers": {"Content-Encoding": coding}, **more}])
    outcome = Outcome(store, server.url + "image")
    assert outcome.problem is None
    assert store.stat(SHA256) is not None


def test_a_shorter_file_of_unknown_length_is_never_stored(
    server: MirrorServer, store: FilesystemStore
) -> None:
    (server.root / "short").write_bytes(CONTENT[:-1])
    server.set_faults([Fault(path="short", is_chunked=True, first=1)])
    outcome = Outcome(store, server.url + "short")
    assert outcome.problem is not None
    assert (outcome.code, outcome.problem.got) == ("size-mismatch", f"{SIZE - 1} bytes")
    assert store.stat(SHA256) is None


def test_another_files_bytes_are_tried_once_more_past_caches(
    server: MirrorServer, store: FilesystemStore
) -> None:
    outcome = Outcome(store, server.url + "other")
    assert (outcome.code, outcome.retries) == ("hash-mismatch", ["hash-mismatch"])
    asked = [(r.headers.get("cache-control"), r.range) for r in server.log]
    assert asked == [(None, ""), ("no-cache", "")]
    assert outcome.problem is not None
    assert SHA256 in outcome.problem.expected
    assert hashlib.sha256(OTHER).hexdigest() in outcome.problem.got
    assert list(store.partials()) == []


def test_a_damaged_copy_in_a_cache_is_got_around(
    server: MirrorServer, store: FilesystemStore
) -> None:
    # A cache answers with its own bytes until it's told to ask the mirror.
    server.set_faults([Fault(path="image", flip=5, unless={"Cache-Control": "no-cache"})])
    outcome = Outcome(store, server.url + "image")
    assert (outcome.problem, outcome.retries) == (None, ["hash-mismatch"])
    assert stored(store) == CONTENT


def test_a_poisoned_partial_is_fetched_once_more_from_zero(
    server: MirrorServer, store: FilesystemStore
) -> None:
    begin(store, OTHER[:1_000_000])
    outcome = Outcome(store, server.url + "image")
    assert (outcome.problem, outcome.retries) == (None, ["hash-mismatch"])
    assert stored(store) == CONTENT
    assert [request.range for request in server.log] == ["bytes=1000000-", ""]


def test_a_poisoned_partial_is_no_endless_loop(
    server: MirrorServer, store: FilesystemStore
) -> None:
    begin(store, OTHER[:1_000_000])
    server.set_faults([Fault(path="image", flip=2_000_000)])
    outcome = Outcome(store, server.url + "image")
    assert (outcome.code, len(server.log)) == ("hash-mismatch", 2)


def test_a_poisoned_whole_partial_is_fetched_again(
    server: MirrorServer, store: FilesystemStore
) -> None:
    begin(store, OTHER)
    assert Outcome(store, server.url + "image").problem is None
    assert (stored(store), [r.range for r in server.log]) == (CONTENT, [""])


def test_a_login_page_in_place_of_a_file_is_named(
    server: MirrorServer, store: FilesystemStore
) -> None:
    begin(store, CONTENT[:500])
    for fault in ({}, {"is_chunked": True}):
        server.set_faults(
            [
                {
                    "path": "image",
                    "body": "<html>SECRET</html>",
                    "headers": {"Content-Type": "text/html; charset=utf-8"},
                    **fault,
                }
            ]
        )
        outcome = Outcome(store, server.url + "image")
        assert outcome.code == "http-html"
        assert "SECRET" not in str(outcome.problem)
        assert partial_of(store) == 500


# -- ranges that lie


def test_200_to_a_range_starts_over(server: MirrorServer, store: FilesystemStore) -> None:
    begin(store, CONTENT[:1_000_000])
    server.set_faults([Fault(path="image", ignores_range=True)])
    outcome = Outcome(store, server.url + "image")
    assert (outcome.problem, outcome.retries) == (None, [])
    assert outcome.received[0] == 0
    assert (stored(store), len(server.log)) == (CONTENT, 1)


def test_an_etag_that_changes_midway_starts_over(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults(
        [Fault(path="image", cut=SIZE // 2, first=1, headers={"ETag": '"old"'}, no_etag=True)]
    )
    assert Outcome(store, server.url + "image").problem is None
    assert stored(store) == CONTENT
    assert server.log[1].headers["if-range"] == '"old"'
    assert server.log[1].status == 200


def answer_ranges(heads: list[bytes], bodies: list[bytes], seen: list[bytes]) -> Any:
    """A server whose n-th answer is the n-th head and body, whatever was asked."""

    def talk(connection: Any) -> None:
        seen.append(request_of(connection))
        number = min(len(seen), len(heads)) - 1
        connection.sendall(heads[number] + b"\r\n\r\n" + bodies[number])

    return talk


WHOLE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d" % SIZE


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 206 Part\r\nContent-Length: 2999000\r\nContent-Range: bytes 0-2998999/3000000",
        b"HTTP/1.1 206 Part\r\nContent-Length: 2999000\r\nContent-Range: bytes 1000-2999999/9",
        b"HTTP/1.1 206 Part\r\nContent-Length: 1000\r\nContent-Range: bytes 1000-1999/3000000",
        b"HTTP/1.1 206 Part\r\nContent-Length: 5\r\nContent-Range: bytes 1000-2999999/3000000",
        b"HTTP/1.1 206 Part\r\nContent-Length: 2999000\r\nContent-Range: pages 1-2/3",
        b"HTTP/1.1 206 Part\r\nContent-Length: 2999000",
        b"HTTP/1.1 206 Part\r\nContent-Type: multipart/byteranges; boundary=x",
        b"HTTP/1.1 416 No\r\nContent-Length: 0",
        b"HTTP/1.1 416 No\r\nContent-Length: 0\r\nContent-Range: bytes */3000000",
    ],
    ids=[
        "from zero", "other total", "only a part", "other length", "other unit",
        "no range", "multipart", "416", "416 with our size",
    ],
)  # fmt: skip
def test_a_wrong_answer_to_a_range_is_not_used_and_the_file_starts_over(
    store: FilesystemStore, head: bytes
) -> None:
    begin(store, CONTENT[:1000])
    seen: list[bytes] = []
    talk = answer_ranges([head + b"\r\nConnection: close", WHOLE], [OTHER[:5000], CONTENT], seen)
    with RawServer(talk) as raw:
        outcome = Outcome(store, raw.url)
    assert (outcome.problem, outcome.retries) == (None, ["http-range"])
    assert stored(store) == CONTENT
    assert [b"Range:" in request for request in seen] == [True, False]


def test_a_206_of_another_version_is_not_mixed_in(store: FilesystemStore) -> None:
    seen: list[bytes] = []
    heads = [
        WHOLE + b'\r\nETag: "one"',
        b"HTTP/1.1 206 Part\r\nContent-Length: 2000000\r\nConnection: close\r\n"
        b'Content-Range: bytes 1000000-2999999/3000000\r\nETag: "two"',
        WHOLE,
    ]
    bodies = [OTHER[:1_000_000], CONTENT[1_000_000:], CONTENT]
    with RawServer(answer_ranges(heads, bodies, seen)) as raw:
        outcome = Outcome(store, raw.url)
    assert (outcome.problem, outcome.retries) == (None, ["http-short", "http-range"])
    assert stored(store) == CONTENT


def test_416_with_another_size_is_a_wrong_size(store: FilesystemStore) -> None:
    begin(store, CONTENT[:1000])
    head = b"HTTP/1.1 416 No\r\nContent-Length: 0\r\nContent-Range: bytes */1000\r\n\r\n"
    with RawServer(saying(head)) as raw:
        outcome = Outcome(store, raw.url)
    assert outcome.problem is not None
    assert (outcome.code, outcome.problem.got) == ("size-mismatch", "1000 bytes")
    assert partial_of(store) == 1000


def test_a_206_with_the_first_bytes_ends_in_one_fresh_try(
    server: MirrorServer, store: FilesystemStore
) -> None:
    begin(store, CONTENT[:1_000_000])
    server.set_faults([Fault(path="image", shifts_range=True, first=1)])
    outcome = Outcome(store, server.url + "image")
    assert (outcome.problem, outcome.retries) == (None, ["hash-mismatch"])
    assert stored(store) == CONTENT
