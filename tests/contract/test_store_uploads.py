# SPDX-License-Identifier: Apache-2.0
"""Uploads whose digest comes last (webapp/storage/base.py, BlobReceiver), asked of each kind."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.stores import MIB, Harness, make_blob
from webapp.storage import running
from webapp.storage.base import BlobStore
from webapp.storage.errors import BlobBusy, BlobMismatch, BlobMissing, StoreProblem

LARGE = make_blob(3 * MIB + 17)
TOKEN = "ab" * 32


@pytest.fixture(autouse=True)
def remembers_nothing() -> None:
    running._settled.clear()


MANY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def send(store: BlobStore, start: int, stop: int) -> None:
    """One request: the bytes from start to stop, settled."""
    with store.receiver(TOKEN, LARGE.size) as receiver:
        assert receiver.offset == start
        receiver.write(LARGE.data[start:stop])
        receiver.settle()


def adopt(store: BlobStore) -> None:
    with store.receiver(TOKEN, LARGE.size) as receiver:
        receiver.adopt(LARGE.sha256)


def test_pieces_become_a_blob(harness: Harness) -> None:
    store = harness.store
    for start in range(0, LARGE.size, MIB):
        send(store, start, min(start + MIB, LARGE.size))
        assert store.stat(LARGE.sha256) is None
        assert list(store.digests()) == [] == list(store.partials())
    assert [upload.received for upload in store.uploads()] == [LARGE.size]
    adopt(store)
    assert harness.get(LARGE) == LARGE.data
    assert store.verify(LARGE.sha256)
    assert list(store.uploads()) == []


@MANY
@given(cuts=st.lists(st.integers(0, LARGE.size), max_size=6), forgets=st.booleans())
def test_any_pieces_any_processes(harness: Harness, cuts: list[int], forgets: bool) -> None:
    if harness.is_enough():
        return
    store = harness.store
    start = 0
    for stop in [*sorted(cuts), LARGE.size]:
        if forgets:
            running._settled.clear()  # what another process would know
        send(store, start, stop)
        start = stop
    adopt(store)
    assert harness.get(LARGE) == LARGE.data
    store.delete(LARGE.sha256)


@MANY
@given(kept=st.integers(0, LARGE.size), more=st.integers(0, MIB + 5))
def test_what_is_taken_back_leaves_no_trace(harness: Harness, kept: int, more: int) -> None:
    if harness.is_enough():
        return
    store = harness.store
    send(store, 0, kept)
    with store.receiver(TOKEN, LARGE.size) as receiver:
        receiver.write(bytes(min(more, LARGE.size - kept)))
    with store.receiver(TOKEN, LARGE.size) as receiver:
        receiver.cut(kept)
        assert receiver.offset == kept
        receiver.write(LARGE.data[kept:])
        receiver.settle()
        assert receiver.digest() == LARGE.sha256
        receiver.adopt(LARGE.sha256)
    assert harness.get(LARGE) == LARGE.data
    store.delete(LARGE.sha256)


def test_a_wrong_digest_keeps_the_bytes(harness: Harness) -> None:
    send(harness.store, 0, LARGE.size)
    with harness.store.receiver(TOKEN, LARGE.size) as receiver:
        with pytest.raises(BlobMismatch) as caught:
            receiver.adopt("00" * 32)
        assert caught.value.code == "blob-wrong-hash"
    assert [upload.received for upload in harness.store.uploads()] == [LARGE.size]
    assert list(harness.store.digests()) == []
    adopt(harness.store)


def test_too_few_and_too_many_bytes_are_refused(store: BlobStore) -> None:
    send(store, 0, 1000)
    with store.receiver(TOKEN, LARGE.size) as receiver:
        with pytest.raises(BlobMismatch, match="declared"):
            receiver.adopt(LARGE.sha256)
        with pytest.raises(BlobMismatch):
            receiver.write(bytes(LARGE.size))
        assert receiver.offset == 1000


def test_one_receiver_at_a_time(store: BlobStore) -> None:
    with store.receiver(TOKEN, LARGE.size) as receiver:
        receiver.write(b"12")
        with pytest.raises(BlobBusy):
            store.receiver(TOKEN, LARGE.size)
        with pytest.raises(BlobBusy):
            store.drop_upload(TOKEN)
        with store.receiver("cd" * 32, 5) as other:
            other.write(b"x")
    assert len(list(store.uploads())) == 2


def test_an_upload_can_be_read_and_dropped(store: BlobStore) -> None:
    send(store, 0, 2 * MIB)
    with store.open_upload(TOKEN) as reader:
        assert b"".join(reader.chunks(MIB - 3)) == LARGE.data[MIB - 3 : 2 * MIB]
    store.drop_upload(TOKEN)
    store.drop_upload(TOKEN)
    assert list(store.uploads()) == []
    with pytest.raises(BlobMissing):
        store.open_upload(TOKEN)


def test_an_upload_of_nothing_is_a_blob(harness: Harness) -> None:
    empty = make_blob(0)
    with harness.store.receiver(TOKEN, 0) as receiver:
        receiver.adopt(empty.sha256)
    assert harness.get(empty) == b""


def test_bytes_that_are_there_already_are_replaced_in_one_step(harness: Harness) -> None:
    harness.put(LARGE)
    send(harness.store, 0, LARGE.size)
    adopt(harness.store)
    assert harness.get(LARGE) == LARGE.data


@pytest.mark.parametrize("token", ["", "../../x", "AB" * 32, "ab" * 31])
def test_a_token_is_no_path(store: BlobStore, token: str) -> None:
    for call in (store.drop_upload, store.open_upload, lambda t: store.receiver(t, 1)):
        with pytest.raises(StoreProblem):
            call(token)


def test_a_process_remembers_so_many_uploads_only() -> None:
    for _ in range(running._MAX_SETTLED * 2):
        running.RunningHash(secrets.token_hex(32)).settle()
    assert len(running._settled) == running._MAX_SETTLED
