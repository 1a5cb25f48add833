# SPDX-License-Identifier: Apache-2.0
"""What every store promises (webapp/storage/base.py), asked of each kind."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.blobs import LARGE, ONE_STORE, SMALL
from tests.contract.stores import MIB, Harness, make_blob
from webapp.storage.base import BlobStore
from webapp.storage.errors import BlobBusy, BlobMismatch, BlobMissing, StoreProblem


def test_what_is_committed_can_be_read(harness: Harness) -> None:
    harness.put(LARGE)
    assert harness.get(LARGE) == LARGE.data
    stat = harness.store.stat(LARGE.sha256)
    assert stat is not None
    assert (stat.sha256, stat.size) == (LARGE.sha256, LARGE.size)
    assert list(harness.store.partials()) == []


def test_a_blob_without_bytes_is_a_blob(harness: Harness) -> None:
    empty = make_blob(0)
    harness.put(empty)
    assert harness.get(empty) == b""
    assert harness.store.verify(empty.sha256)
    assert list(harness.store.digests()) == [empty.sha256]


def test_nothing_is_visible_before_the_commit(harness: Harness) -> None:
    store = harness.store
    with store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data)
        writer.flush()
        assert store.stat(LARGE.sha256) is None
        assert list(store.digests()) == []
        with pytest.raises(BlobMissing):
            store.open(LARGE.sha256)
        with pytest.raises(BlobMissing):
            store.verify(LARGE.sha256)
        writer.commit()
    assert store.stat(LARGE.sha256) is not None


def test_a_missing_blob_is_a_problem_with_a_next_step(store: BlobStore) -> None:
    assert store.stat(SMALL.sha256) is None
    with pytest.raises(BlobMissing) as caught:
        store.open(SMALL.sha256)
    assert caught.value.code == "blob-missing"
    assert SMALL.sha256 in caught.value.where
    assert caught.value.next_step
    store.delete(SMALL.sha256)
    store.drop_partial(SMALL.sha256)


def test_digests_lists_exactly_the_whole_blobs_in_order(harness: Harness) -> None:
    blobs = [make_blob(10, seed) for seed in range(20)]
    for blob in blobs:
        harness.put(blob)
    harness.start(LARGE, 5)
    harness.store.delete(blobs[3].sha256)
    del blobs[3]
    assert list(harness.store.digests()) == sorted(blob.sha256 for blob in blobs)


# -- wrong bytes


def test_other_bytes_are_refused_and_dropped(store: BlobStore) -> None:
    other = b"x" * SMALL.size
    with store.writer(SMALL.sha256, SMALL.size) as writer:
        writer.write(other)
        with pytest.raises(BlobMismatch) as caught:
            writer.commit()
    assert caught.value.code == "blob-wrong-hash"
    assert SMALL.sha256 in caught.value.expected
    assert hashlib.sha256(other).hexdigest() in caught.value.got
    assert store.stat(SMALL.sha256) is None
    assert list(store.partials()) == []


def test_one_flipped_bit_is_refused(store: BlobStore) -> None:
    flipped = bytearray(LARGE.data)
    flipped[2 * MIB] ^= 1
    with store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(flipped)
        with pytest.raises(BlobMismatch):
            writer.commit()
    assert store.stat(LARGE.sha256) is None


def test_a_write_beyond_the_size_is_refused_whole(harness: Harness) -> None:
    with harness.store.writer(SMALL.sha256, SMALL.size) as writer:
        writer.write(SMALL.data[:-1])
        with pytest.raises(BlobMismatch) as caught:
            writer.write(SMALL.data[-1:] + b"!")
        assert caught.value.code == "blob-too-long"
        assert writer.offset == SMALL.size - 1
        writer.write(SMALL.data[-1:])
        writer.commit()
    assert harness.get(SMALL) == SMALL.data


def test_an_early_commit_is_refused_and_keeps_the_partial(harness: Harness) -> None:
    with harness.store.writer(SMALL.sha256, SMALL.size) as writer:
        writer.write(SMALL.data[:600])
        with pytest.raises(BlobMismatch) as caught:
            writer.commit()
    assert caught.value.code == "blob-too-short"
    assert harness.store.stat(SMALL.sha256) is None
    assert [(p.sha256, p.received) for p in harness.store.partials()] == [(SMALL.sha256, 600)]
    harness.put(SMALL)
    assert harness.get(SMALL) == SMALL.data


@pytest.mark.parametrize(
    "digest", ["", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n", "\u0660" * 64]
)
def test_what_is_no_digest_is_refused_everywhere(store: BlobStore, digest: str) -> None:
    for use in (store.stat, store.open, store.delete, store.drop_partial, store.verify):
        with pytest.raises(StoreProblem) as caught:
            use(digest)
        assert caught.value.code == "blob-digest-invalid"
    with pytest.raises(StoreProblem):
        store.writer(digest, 1)


@pytest.mark.parametrize("size", [-1, (1 << 44) + 1, True])
def test_what_is_no_size_is_refused(store: BlobStore, size: int) -> None:
    with pytest.raises(StoreProblem) as caught:
        store.writer(SMALL.sha256, size)
    assert caught.value.code == "blob-size-invalid"


# -- going on


def test_a_closed_writer_is_resumed_at_its_offset(harness: Harness) -> None:
    harness.start(LARGE, 2 * MIB + 5)
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        assert writer.offset == 2 * MIB + 5
        writer.write(LARGE.data[writer.offset :])
        writer.commit()
    assert harness.get(LARGE) == LARGE.data


class Asked(Exception):
    """Whoever fills a blob was asked to stop."""


def test_a_stop_is_heard_while_a_partial_is_resumed_and_loses_nothing(harness: Harness) -> None:
    received = 2 * MIB + 5
    harness.start(LARGE, received)
    calls: list[None] = []

    def check() -> None:
        calls.append(None)
        if len(calls) == (1 if harness.is_objects else 2):
            raise Asked

    with pytest.raises(Asked):
        harness.store.writer(LARGE.sha256, LARGE.size, check)
    assert [partial.received for partial in harness.store.partials()] == [received]
    with harness.store.writer(LARGE.sha256, LARGE.size, check) as writer:
        assert writer.offset == received
        writer.write(LARGE.data[received:])
        writer.commit()
    assert harness.get(LARGE) == LARGE.data


@given(
    steps=st.lists(st.integers(0, MIB + MIB // 2), max_size=8), closes=st.sets(st.integers(0, 8))
)
@ONE_STORE
def test_any_way_of_writing_gives_the_same_bytes(
    harness: Harness, steps: list[int], closes: set[int]
) -> None:
    if harness.is_enough():
        return
    writer = harness.store.writer(LARGE.sha256, LARGE.size)
    try:
        for number, step in enumerate([*steps, LARGE.size]):
            offset = writer.offset
            writer.write(LARGE.data[offset : offset + step])
            assert writer.offset == min(offset + step, LARGE.size)
            if number in closes:
                offset = writer.offset
                writer.close()
                writer = harness.store.writer(LARGE.sha256, LARGE.size)
                assert writer.offset == offset
        writer.commit()
    finally:
        writer.close()
    assert harness.get(LARGE) == LARGE.data
    harness.store.delete(LARGE.sha256)


def test_the_caller_may_use_its_buffer_again(harness: Harness) -> None:
    buffer = bytearray(64 << 10)
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        while writer.offset < LARGE.size:
            piece = LARGE.data[writer.offset : writer.offset + len(buffer)]
            buffer[: len(piece)] = piece
            writer.write(memoryview(buffer)[: len(piece)])
            buffer[:] = bytes(len(buffer))
        writer.commit()
    assert harness.get(LARGE) == LARGE.data


def test_a_partial_with_damaged_bytes_is_refused_in_the_end(harness: Harness) -> None:
    other = make_blob(LARGE.size, seed=1)
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(other.data[: 2 * MIB])
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data[writer.offset :])
        with pytest.raises(BlobMismatch):
            writer.commit()
    assert list(harness.store.partials()) == []
    harness.put(LARGE)
    assert harness.get(LARGE) == LARGE.data


def test_a_partial_longer_than_the_size_starts_over(harness: Harness) -> None:
    with harness.store.writer(SMALL.sha256, 5 * MIB) as writer:
        writer.write(bytes(4 * MIB))
    with harness.store.writer(SMALL.sha256, SMALL.size) as writer:
        assert writer.offset == 0
        writer.write(SMALL.data)
        writer.commit()
    assert harness.get(SMALL) == SMALL.data
    harness.store.check()


def test_a_discarded_writer_leaves_nothing(store: BlobStore) -> None:
    with store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data[: 2 * MIB])
        writer.discard()
        writer.discard()
    assert list(store.partials()) == []


def test_a_writer_that_got_nothing_leaves_nothing(store: BlobStore) -> None:
    store.writer(LARGE.sha256, LARGE.size).close()
    assert list(store.partials()) == []


def test_a_closed_writer_takes_nothing(store: BlobStore) -> None:
    writer = store.writer(SMALL.sha256, SMALL.size)
    writer.close()
    writer.close()
    for use in (lambda: writer.write(b"x"), writer.flush, writer.commit):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_partials_say_how_much_and_since_when(harness: Harness) -> None:
    start = datetime.now(UTC) - timedelta(seconds=2)
    harness.start(LARGE, 2 * MIB)
    (partial,) = harness.store.partials()
    assert (partial.sha256, partial.received) == (LARGE.sha256, 2 * MIB)
    assert start < partial.touched_at < datetime.now(UTC) + timedelta(seconds=2)


def test_a_dropped_partial_is_gone(harness: Harness) -> None:
    harness.start(LARGE, 2 * MIB)
    harness.store.drop_partial(LARGE.sha256)
    assert list(harness.store.partials()) == []


# -- one writer


def test_a_second_writer_has_to_wait(harness: Harness) -> None:
    store = harness.store
    with store.writer(LARGE.sha256, LARGE.size) as writer:
        writer.write(LARGE.data[: 2 * MIB])
        with pytest.raises(BlobBusy):
            store.writer(LARGE.sha256, LARGE.size)
        with pytest.raises(BlobBusy):
            store.drop_partial(LARGE.sha256)
        with store.writer(SMALL.sha256, SMALL.size) as other:
            other.write(SMALL.data)
            other.commit()
        writer.write(LARGE.data[2 * MIB :])
        writer.commit()
    assert harness.get(LARGE) == LARGE.data
    harness.put(LARGE)
