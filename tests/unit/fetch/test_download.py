# SPDX-License-Identifier: Apache-2.0
"""Downloads into a store: resumed, tried again, cut at their size, never a wrong byte."""

from __future__ import annotations

import hashlib
import random
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.unit.fetch.servers import RawServer, request_of, saying
from webapp.fetch import Fetcher, FetchProblem, Limits, Stopped
from webapp.storage.errors import StoreFull
from webapp.storage.filesystem import FilesystemStore

CONTENT = random.Random(7).randbytes(3_000_000)
OTHER = random.Random(8).randbytes(3_000_000)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Limits(connect_s=2, read_s=2, retries=4, backoff_s=0.01, speed_window_s=1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MirrorServer]:
    folder = tmp_path / "www"
    folder.mkdir()
    folder.joinpath("image").write_bytes(CONTENT)
    folder.joinpath("other").write_bytes(OTHER)
    with MirrorServer(folder) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    made = FilesystemStore(tmp_path / "store")
    made.prepare(create=True)
    return made


class Outcome:
    """One download with what it told on the way."""

    def __init__(
        self,
        store: FilesystemStore,
        url: str,
        *,
        limits: Limits = QUICK,
        sha256: str = SHA256,
        size: int = SIZE,
        is_stopped: Callable[[], bool] | None = None,
    ) -> None:
        self.received: list[int] = []
        self.retries: list[str] = []
        self.problem: FetchProblem | None = None
        with Fetcher(limits=limits) as fetcher:
            try:
                fetcher.download(
                    url,
                    lambda: store.writer(sha256, size),
                    size=size,
                    on_bytes=self.received.append,
                    on_retry=lambda problem: self.retries.append(problem.code),
                    is_stopped=is_stopped,
                )
            except FetchProblem as problem:
                self.problem = problem
        self.code = self.problem.code if self.problem else ""


def stored(store: FilesystemStore, sha256: str = SHA256) -> bytes:
    with store.open(sha256) as reader:
        return b"".join(reader.chunks())


def partial_of(store: FilesystemStore) -> int:
    return sum(partial.received for partial in store.partials())


def begin(store: FilesystemStore, content: bytes) -> None:
    """Leave a partial behind, as a killed worker does."""
    with store.writer(SHA256, SIZE) as writer:
        writer.write(content)


# -- what goes right


def test_a_file_comes_whole_and_progress_rises(
    server: MirrorServer, store: FilesystemStore
) -> None:
    outcome = Outcome(store, server.url + "image")
    assert outcome.problem is None
    assert stored(store) == CONTENT
    assert outcome.received == sorted(outcome.received)
    assert outcome.received[-1] == SIZE
    assert [(r.method, r.range, r.sent) for r in server.log] == [("GET", "", SIZE)]
    assert list(store.partials()) == []


def test_an_empty_file_needs_no_request(server: MirrorServer, store: FilesystemStore) -> None:
    empty = hashlib.sha256().hexdigest()
    assert Outcome(store, server.url + "image", sha256=empty, size=0).problem is None
    assert (stored(store, empty), server.log) == (b"", [])


def test_a_partial_is_continued_where_it_stopped(
    server: MirrorServer, store: FilesystemStore
) -> None:
    begin(store, CONTENT[:2_000_000])
    assert Outcome(store, server.url + "image").problem is None
    assert stored(store) == CONTENT
    assert [(r.range, r.sent) for r in server.log] == [("bytes=2000000-", 1_000_000)]


def test_a_whole_partial_is_committed_without_a_request(
    server: MirrorServer, store: FilesystemStore
) -> None:
    begin(store, CONTENT)
    assert Outcome(store, server.url + "image").problem is None
    assert (stored(store), server.log) == (CONTENT, [])


@pytest.mark.parametrize(
    "fault",
    [{"is_chunked": True}, {"no_length": True}, {"no_etag": True}, {"rate": 30_000_000}],
    ids=["chunked", "until close", "no etag", "at a rate"],
)
def test_other_good_ways_to_send_a_file(
    server: MirrorServer, store: FilesystemStore, fault: dict[str, Any]
) -> None:
    server.set_faults([{"path": "image", **fault}])
    assert Outcome(store, server.url + "image").problem is None
    assert (stored(store), len(server.log)) == (CONTENT, 1)


def test_a_right_file_with_a_wrong_content_type_is_taken(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults([Fault(path="image", headers={"Content-Type": "text/html"})])
    assert Outcome(store, server.url + "image").problem is None


# -- interruptions


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_break_at_half_is_resumed_by_range(
    server: MirrorServer, store: FilesystemStore, how: str
) -> None:
    server.set_faults([{"path": "image", how: SIZE // 2, "first": 1}])
    outcome = Outcome(store, server.url + "image")
    assert outcome.problem is None
    assert stored(store) == CONTENT
    assert server.bytes_sent <= 1.1 * SIZE
    assert len(outcome.retries) == 1
    second = server.log[1]
    assert second.range.startswith("bytes=")
    assert second.headers["if-range"].startswith('"')
    assert outcome.received == sorted(outcome.received)


def test_without_a_strong_etag_the_date_goes_into_if_range(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults([Fault(path="image", cut=SIZE // 2, first=1, no_etag=True)])
    assert Outcome(store, server.url + "image").problem is None
    assert server.log[1].headers["if-range"].endswith("GMT")


def test_a_mirror_that_flaps_costs_little_more_than_the_file(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults(
        [
            Fault(path="image", cut=400_000, first=2),
            Fault(path="image", status=503, first=1),
            Fault(path="image", reset=700_000, first=2),
            Fault(path="image", status=502, first=1),
        ]
    )
    outcome = Outcome(store, server.url + "image")
    assert outcome.problem is None
    assert stored(store) == CONTENT
    assert server.bytes_sent <= 1.1 * SIZE + 200
    assert len(outcome.retries) == 6


def test_many_breaks_are_fine_as_long_as_the_file_grows(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults([Fault(path="image", cut=300_000)])
    assert Outcome(store, server.url + "image").problem is None
    assert len(server.log) == 10


def test_a_server_that_gives_crumbs_is_given_up(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults([Fault(path="image", cut=10)])
    outcome = Outcome(store, server.url + "image")
    assert (outcome.code, len(server.log)) == ("http-short", 5)
    assert partial_of(store) == 50


def test_503_twice_then_good_is_good(server: MirrorServer, store: FilesystemStore) -> None:
    server.set_faults([Fault(path="image", status=503, first=2)])
    outcome = Outcome(store, server.url + "image")
    assert (outcome.problem, outcome.retries) == (None, ["http-status"] * 2)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 416, 206, 304])
def test_a_final_status_is_not_tried_again_and_keeps_what_is_there(
    server: MirrorServer, store: FilesystemStore, status: int
) -> None:
    server.set_faults([Fault(path="image", status=status, body="SECRET")])
    outcome = Outcome(store, server.url + "image")
    assert outcome.problem is not None
    assert (outcome.code, outcome.problem.status, len(server.log)) == ("http-status", status, 1)
    assert "SECRET" not in str(outcome.problem)


def test_a_stall_is_resumed_after_the_time_limit(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults([Fault(path="image", stall=(SIZE // 2, 60), first=1)])
    limits = Limits(**{**QUICK.__dict__, "read_s": 0.3})
    outcome = Outcome(store, server.url + "image", limits=limits)
    assert (outcome.problem, outcome.retries) == (None, ["http-timeout"])
    assert server.bytes_sent <= 1.1 * SIZE


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        ({"drip": [1, 0.05]}, {"http-slow"}),
        ({"hang": 60}, {"http-timeout"}),
        ({"stall": [1000, 60]}, {"http-timeout"}),
    ],
    ids=["drip", "hang", "stall"],
)
def test_a_server_that_starves_us_is_given_up(
    server: MirrorServer, store: FilesystemStore, fault: dict[str, Any], codes: set[str]
) -> None:
    server.set_faults([{"path": "image", **fault}])
    limits = Limits(**{**QUICK.__dict__, "read_s": 0.3, "speed_window_s": 0.3, "retries": 1})
    outcome = Outcome(store, server.url + "image", limits=limits)
    assert outcome.code in codes
    assert len(server.log) == 2


def test_a_server_may_think_before_it_sends(server: MirrorServer, store: FilesystemStore) -> None:
    server.set_faults([Fault(path="image", delay=0.6)])
    limits = Limits(**{**QUICK.__dict__, "speed_window_s": 0.2, "min_bytes_per_s": 50 << 10})
    outcome = Outcome(store, server.url + "image", limits=limits)
    assert (outcome.problem, outcome.retries) == (None, [])


# -- stopping


@pytest.mark.parametrize(
    "fault",
    [{"hang": 600}, {"stall": [1_500_000, 600]}, {"drip": [1000, 0.1]}, {"status": 503}],
    ids=["hang", "stall", "drip", "pause between tries"],
)
def test_a_stop_is_heard_and_keeps_what_came(
    server: MirrorServer, store: FilesystemStore, fault: dict[str, Any]
) -> None:
    server.set_faults([{"path": "image", **fault}])
    limits = Limits(read_s=600, backoff_s=600, backoff_max_s=600)
    questions = iter([False, False, True])
    outcome = Outcome(
        store, server.url + "image", limits=limits, is_stopped=lambda: next(questions, True)
    )
    assert isinstance(outcome.problem, Stopped)
    assert outcome.received == sorted(outcome.received)
    assert partial_of(store) == (outcome.received[-1] if outcome.received else 0)


def test_a_stop_of_the_fetcher_stops_its_downloads(
    server: MirrorServer, store: FilesystemStore
) -> None:
    with Fetcher(is_stopped=lambda: True) as fetcher, pytest.raises(Stopped):
        fetcher.download(server.url + "image", lambda: store.writer(SHA256, SIZE), size=SIZE)


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
        ({"gzip_bomb": 1 << 32}, "size-mismatch", SIZE),
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


def test_another_files_bytes_are_not_tried_again(
    server: MirrorServer, store: FilesystemStore
) -> None:
    outcome = Outcome(store, server.url + "other")
    assert (outcome.code, len(server.log)) == ("hash-mismatch", 1)
    assert outcome.problem is not None
    assert SHA256 in outcome.problem.expected
    assert hashlib.sha256(OTHER).hexdigest() in outcome.problem.got
    assert list(store.partials()) == []


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


def test_a_poisoned_whole_partial_is_fetched_anew(
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


# -- our own side


def test_a_full_store_is_the_stores_problem_and_no_retry(
    server: MirrorServer, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, data: memoryview) -> None:
        raise StoreFull("here", needed=SIZE, free=5)

    monkeypatch.setattr("webapp.storage.files.FileWriter.write", full)
    with pytest.raises(StoreFull):
        Outcome(store, server.url + "image")
    assert len(server.log) == 1


def test_the_writer_is_closed_whatever_happens(
    server: MirrorServer, store: FilesystemStore
) -> None:
    server.set_faults([Fault(path="image", status=404)])
    Outcome(store, server.url + "image")
    server.set_faults()
    assert Outcome(store, server.url + "image").problem is None


def test_memory_stays_flat_with_several_downloads(
    server: MirrorServer, store: FilesystemStore, tmp_path: Path
) -> None:
    big = tmp_path / "www" / "big"
    content = CONTENT * 20
    big.write_bytes(content)
    digests = [hashlib.sha256(content[:size]).hexdigest() for size in range(50_000_000, 50_000_003)]
    for number in range(3):
        (tmp_path / "www" / f"big{number}").write_bytes(content[: 50_000_000 + number])
    Outcome(store, server.url + "image")  # warm up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(
            target=lambda n=n: outcomes.append(
                Outcome(store, f"{server.url}big{n}", sha256=digests[n], size=50_000_000 + n)
            )
        )
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.code for outcome in outcomes] == [""] * 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
