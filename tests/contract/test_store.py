# SPDX-License-Identifier: Apache-2.0
"""What every store promises (webapp/storage/base.py), asked of each kind."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.stores import MIB, Harness, make_blob
from webapp.storage.base import BlobStore
from webapp.storage.errors import BlobBusy, BlobMismatch, BlobMissing, StoreProblem

SMALL = make_blob(1000)
LARGE = make_blob(3 * MIB + 17)  # some rows and a bit
ONE_STORE = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


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


@given(
    steps=st.lists(st.integers(0, MIB + MIB // 2), max_size=8), closes=st.sets(st.integers(0, 8))
)
@ONE_STORE
def test_any_way_of_writing_gives_the_same_bytes(
    harness: Harness, steps: list[int], closes: set[int]
) -> None:
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


def test_a_partial_longer_than_the_size_is_begun_anew(harness: Harness) -> None:
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


def test_a_second_writer_is_told_to_wait(harness: Harness) -> None:
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


# -- replacing and deleting


def test_a_damaged_copy_is_found_and_replaced(harness: Harness) -> None:
    harness.put(SMALL)
    harness.damage(SMALL, b"!" + SMALL.data[1:])
    assert not harness.store.verify(SMALL.sha256)
    harness.put(SMALL)
    assert harness.store.verify(SMALL.sha256)
    assert harness.get(SMALL) == SMALL.data


def test_a_copy_of_the_wrong_size_shows_and_is_replaced(harness: Harness) -> None:
    harness.put(SMALL)
    harness.damage(SMALL, SMALL.data[:-1])
    stat = harness.store.stat(SMALL.sha256)
    assert stat is not None
    assert stat.size == SMALL.size - 1
    assert not harness.store.verify(SMALL.sha256)
    harness.put(SMALL)
    assert harness.get(SMALL) == SMALL.data


def test_a_failed_replacement_leaves_the_old_copy(harness: Harness) -> None:
    harness.put(SMALL)
    with harness.store.writer(SMALL.sha256, SMALL.size) as writer:
        writer.write(bytes(SMALL.size))
        with pytest.raises(BlobMismatch):
            writer.commit()
    assert harness.get(SMALL) == SMALL.data


def test_a_deleted_blob_is_gone_and_can_come_back(harness: Harness) -> None:
    harness.put(LARGE)
    harness.store.delete(LARGE.sha256)
    harness.store.delete(LARGE.sha256)
    assert harness.store.stat(LARGE.sha256) is None
    assert list(harness.store.digests()) == []
    harness.put(LARGE)
    assert harness.get(LARGE) == LARGE.data


def test_deleting_leaves_the_partial_alone(harness: Harness) -> None:
    harness.put(LARGE)
    harness.start(LARGE, 2 * MIB)
    harness.store.delete(LARGE.sha256)
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        assert writer.offset == 2 * MIB
        writer.discard()


def test_a_reader_never_gets_other_bytes_when_the_blob_is_deleted(harness: Harness) -> None:
    harness.put(LARGE)
    with harness.store.open(LARGE.sha256) as reader:
        pieces = reader.chunks()
        got = next(pieces)
        harness.store.delete(LARGE.sha256)
        harness.put(make_blob(LARGE.size, seed=1))
        if harness.is_files:
            assert got + b"".join(pieces) == LARGE.data
        else:
            with pytest.raises(BlobMissing):
                next(pieces)
            assert LARGE.data.startswith(got)


def test_a_reader_outlives_a_replacement(harness: Harness) -> None:
    harness.put(LARGE)
    with harness.store.open(LARGE.sha256) as reader:
        pieces = reader.chunks()
        got = next(pieces)
        harness.put(LARGE)
        if harness.is_files:
            assert got + b"".join(pieces) == LARGE.data
        else:
            with pytest.raises(BlobMissing):
                next(pieces)


# -- reading


@given(
    start=st.integers(0, LARGE.size + 9),
    stop=st.none() | st.integers(0, LARGE.size + 9),
    chunk=st.integers(1, 2 * MIB),
)
@ONE_STORE
def test_a_range_is_a_slice(harness: Harness, start: int, stop: int | None, chunk: int) -> None:
    if harness.store.stat(LARGE.sha256) is None:
        harness.put(LARGE)
    chunk = max(chunk, 1000)  # not millions of pieces
    with harness.store.open(LARGE.sha256) as reader:
        pieces = list(reader.chunks(start, stop, chunk))
    assert b"".join(pieces) == LARGE.data[start:stop]
    assert all(0 < len(piece) <= chunk for piece in pieces)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 0),
        (5, 5),
        (9, 3),
        (0, 1),
        (999, None),
        (999, 1000),
        (1000, None),
        (1001, 2000),
        (0, 1001),
    ],
)
def test_a_range_at_the_edges_is_a_slice(harness: Harness, start: int, stop: int | None) -> None:
    harness.put(SMALL)
    with harness.store.open(SMALL.sha256) as reader:
        assert b"".join(reader.chunks(start, stop, 1)) == SMALL.data[start:stop]


def test_a_range_that_no_slice_means_is_refused(harness: Harness) -> None:
    harness.put(SMALL)
    with harness.store.open(SMALL.sha256) as reader:
        for start, stop, chunk in [(-1, None, 1), (0, -1, 1), (0, None, 0)]:
            with pytest.raises(ValueError, match="negative"):
                reader.chunks(start, stop, chunk)


def test_a_blob_of_short_rows_reads_like_any_other(harness: Harness) -> None:
    with harness.store.writer(LARGE.sha256, LARGE.size) as writer:
        for start in range(0, 2 * MIB, 300_000):
            writer.write(LARGE.data[start : start + 300_000])
            writer.flush()
        writer.write(LARGE.data[writer.offset :])
        writer.commit()
    assert harness.get(LARGE) == LARGE.data
    with harness.store.open(LARGE.sha256) as reader:
        assert b"".join(reader.chunks(299_999, 300_001)) == LARGE.data[299_999:300_001]


def test_two_readers_share_nothing_but_the_bytes(harness: Harness) -> None:
    harness.put(LARGE)
    with harness.store.open(LARGE.sha256) as reader:
        first, second = reader.chunks(), reader.chunks(MIB)
        assert next(first) == LARGE.data[:MIB]
        assert next(second) == LARGE.data[MIB : 2 * MIB]
        assert next(first) == LARGE.data[MIB : 2 * MIB]


def test_a_file_can_be_sent_by_the_kernel_where_there_is_one(harness: Harness) -> None:
    harness.put(SMALL)
    path = harness.store.relative_path(SMALL.sha256)
    with harness.store.open(SMALL.sha256) as reader:
        assert reader.size == SMALL.size
        fd = reader.fileno()
        assert (fd is not None) == (path is not None) == harness.is_files
    if path is not None:
        assert (harness.place.root / path).read_bytes() == SMALL.data


def test_a_closed_reader_reads_nothing(harness: Harness) -> None:
    harness.put(LARGE)
    reader = harness.store.open(LARGE.sha256)
    pieces = reader.chunks()
    next(pieces)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        next(pieces)


# -- the store itself


def test_a_sound_store_passes_its_check(harness: Harness) -> None:
    harness.put(SMALL)
    harness.store.check()
    assert harness.get(SMALL) == SMALL.data


def test_free_bytes_is_a_number_where_it_can_be_known(harness: Harness) -> None:
    free = harness.store.free_bytes()
    if harness.is_postgres:
        assert free is None
    else:
        assert free is not None
        assert 0 < free < 1 << 60
