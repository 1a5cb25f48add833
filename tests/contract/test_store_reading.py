# SPDX-License-Identifier: Apache-2.0
"""Replacing, deleting and reading blobs: what every store promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.blobs import LARGE, ONE_STORE, SMALL
from tests.contract.stores import MIB, Harness, make_blob
from webapp.storage.errors import BlobMismatch, BlobMissing

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


def check_the_rest(harness: Harness, got: bytes, pieces: Iterator[bytes]) -> None:
    """What a reader gets of a blob that is gone: the same bytes, or none."""
    if harness.is_files:
        assert got + b"".join(pieces) == LARGE.data
    elif harness.is_objects:  # the server may have sent more than was asked for yet
        with suppress(BlobMissing):
            for piece in pieces:
                got += piece
        assert LARGE.data.startswith(got)
    else:
        with pytest.raises(BlobMissing):
            next(pieces)
        assert LARGE.data.startswith(got)


def test_a_reader_never_gets_other_bytes_when_the_blob_is_deleted(harness: Harness) -> None:
    harness.put(LARGE)
    with harness.store.open(LARGE.sha256) as reader:
        pieces = reader.chunks()
        got = next(pieces)
        harness.store.delete(LARGE.sha256)
        harness.put(make_blob(LARGE.size, seed=1))
        check_the_rest(harness, got, pieces)


def test_a_reader_outlives_a_replacement(harness: Harness) -> None:
    harness.put(LARGE)
    with harness.store.open(LARGE.sha256) as reader:
        pieces = reader.chunks()
        got = next(pieces)
        harness.put(LARGE)
        check_the_rest(harness, got, pieces)


# -- reading


@given(
    start=st.integers(0, LARGE.size + 9),
    stop=st.none() | st.integers(0, LARGE.size + 9),
    chunk=st.integers(1, 2 * MIB),
)
@ONE_STORE
def test_a_range_is_a_slice(harness: Harness, start: int, stop: int | None, chunk: int) -> None:
    if harness.is_enough():
        return
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
    if not harness.is_free_space_known:
        assert free is None
    else:
        assert free is not None
        assert 0 < free < 1 << 60
