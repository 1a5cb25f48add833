# SPDX-License-Identifier: Apache-2.0
"""Downloads into a store: whole, resumed, retried and stopped."""

from __future__ import annotations

import hashlib
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.unit.fetch.download.outcome import (
    CONTENT,
    QUICK,
    SHA256,
    SIZE,
    Outcome,
    begin,
    partial_of,
    stored,
)
from webapp.fetch import Fetcher, Limits, Stopped
from webapp.storage.errors import StoreFull
from webapp.storage.filesystem import FilesystemStore

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
        fetcher.download(
            server.url + "image", lambda check: store.writer(SHA256, SIZE, check), size=SIZE
        )


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
