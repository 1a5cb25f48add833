# SPDX-License-Identifier: Apache-2.0
"""The rate that downloads share: its arithmetic by a clock of our own, and a real download."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mirror.server import MirrorServer
from tests.unit.fetch.download.outcome import CONTENT, QUICK, SHA256, SIZE, stored
from webapp.fetch import Bucket, Fetcher, Stopped
from webapp.fetch.rate import BURST_S, SHARE_S, SMALLEST
from webapp.storage.filesystem import FilesystemStore


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_limit_everything_wanted_is_granted_at_once() -> None:
    clock = Clock()
    bucket = Bucket(lambda: 0, clock)
    assert [bucket.take(1 << 20) for _ in range(3)] == [1 << 20] * 3


def test_what_is_taken_comes_back_at_the_rate() -> None:
    clock = Clock()
    bucket = Bucket(lambda: 1_000_000, clock)
    assert bucket.take(50_000) == 0
    clock.now += 0.1
    assert bucket.take(60_000) == 60_000
    assert bucket.take(60_000) == 0  # 40,000 are less than a share
    assert bucket.take(30_000) == 30_000
    clock.now += 10
    assert bucket.take(1 << 20) == 250_000  # a pause saves up a burst and no more


@given(
    rate=st.integers(1000, 10**9),
    steps=st.lists(
        st.tuples(st.floats(0, 2, allow_nan=False), st.integers(1, 1 << 20)), max_size=80
    ),
)
def test_over_any_time_no_more_comes_than_the_rate_and_a_burst(
    rate: int, steps: list[tuple[float, int]]
) -> None:
    clock = Clock()
    bucket = Bucket(lambda: rate, clock)
    taken = 0
    for seconds, wanted in steps:
        clock.now += seconds
        count = bucket.take(wanted)
        assert 0 <= count <= wanted
        taken += count
        allowed = (clock.now - Clock.now) * rate + max(rate * BURST_S, SMALLEST)
        assert taken <= allowed + 1


@given(rate=st.integers(1000, 10**9), wanted=st.integers(1, 1 << 20))
def test_whoever_waits_gets_something(rate: int, wanted: int) -> None:
    clock = Clock()
    bucket = Bucket(lambda: rate, clock)
    clock.now += max(SHARE_S, SMALLEST / rate) * 1.001
    assert bucket.take(wanted) > 0


def test_a_new_rate_holds_at_the_next_take() -> None:
    clock, rates = Clock(), [1000]
    bucket = Bucket(lambda: rates[0], clock)
    assert bucket.take(1 << 20) == 0
    rates[0] = 100_000_000
    clock.now += 0.1
    assert bucket.take(1 << 20) == 1 << 20
    rates[0] = 0
    assert bucket.take(1 << 24) == 1 << 24
    rates[0] = 1000
    assert bucket.take(1 << 20) == 0  # nothing is saved up while there was no limit


# -- with a real server


@pytest.fixture
def server(tmp_path: Path) -> MirrorServer:
    folder = tmp_path / "www"
    folder.mkdir()
    folder.joinpath("image").write_bytes(CONTENT)
    return MirrorServer(folder)


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    made = FilesystemStore(tmp_path / "store")
    made.prepare(create=True)
    return made


def test_a_download_takes_each_of_its_bytes_from_the_bucket(
    server: MirrorServer, store: FilesystemStore
) -> None:
    granted: list[int] = []
    moments = random.Random(4)

    class Stingy(Bucket):
        def take(self, wanted: int) -> int:
            granted.append(min(wanted, moments.choice((0, 1, 40_000, 200_000))))
            return granted[-1]

    bucket = Stingy(lambda: 0)
    with server, Fetcher(limits=QUICK, bucket=bucket) as fetcher:
        fetcher.download(
            server.url + "image", lambda check: store.writer(SHA256, SIZE, check), size=SIZE
        )
        assert (stored(store), len(server.log)) == (CONTENT, 1)
    assert sum(granted) == SIZE
    assert 0 in granted


def test_downloads_at_once_never_get_more_than_the_rate_allows(
    server: MirrorServer, tmp_path: Path
) -> None:
    rate, clock, lock = 10_000_000, Clock(), threading.Lock()

    class Waiting(Bucket):
        """Its time passes only while a download waits."""

        def take(self, wanted: int) -> int:
            count = super().take(wanted)
            if not count:
                with lock:
                    clock.now += SHARE_S
            return count

    received, seen = [0, 0], list[tuple[int, float]]()

    def download(number: int) -> bytes:
        store = FilesystemStore(tmp_path / f"store {number}")
        store.prepare(create=True)

        def count(offset: int) -> None:
            received[number] = offset
            seen.append((sum(received), clock.now))  # in this order: time only goes on

        url = server.url + "image"
        fetcher.download(
            url, lambda check: store.writer(SHA256, SIZE, check), size=SIZE, on_bytes=count
        )
        return stored(store)

    bucket = Waiting(lambda: rate, clock)
    with server, Fetcher(limits=QUICK, bucket=bucket) as fetcher, ThreadPoolExecutor(2) as pool:
        assert list(pool.map(download, (0, 1))) == [CONTENT, CONTENT]
    assert max(total for total, _ in seen) == 2 * SIZE
    # Nothing was saved up before, so there is no burst either.
    assert all(total <= (now - Clock.now) * rate + 1 for total, now in seen)


def test_a_download_that_waits_for_the_bucket_stops_and_keeps_its_part(
    server: MirrorServer, store: FilesystemStore
) -> None:
    rest = [1_000_000]

    class Dry(Bucket):
        def take(self, wanted: int) -> int:
            count = min(wanted, rest[0])
            rest[0] -= count
            return count

    with server, Fetcher(limits=QUICK, bucket=Dry(lambda: 0)) as fetcher:
        with pytest.raises(Stopped):
            fetcher.download(
                server.url + "image",
                lambda check: store.writer(SHA256, SIZE, check),
                size=SIZE,
                is_stopped=lambda: rest[0] == 0,
            )
        assert sum(partial.received for partial in store.partials()) == 1_000_000
        rest[0] = SIZE
        fetcher.download(
            server.url + "image", lambda check: store.writer(SHA256, SIZE, check), size=SIZE
        )
        assert server.log[-1].range == "bytes=1000000-"
    assert stored(store) == CONTENT
