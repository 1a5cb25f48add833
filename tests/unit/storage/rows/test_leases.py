# SPDX-License-Identifier: Apache-2.0
"""Leases on blobs kept as rows: who may write, and who waits."""

from __future__ import annotations

import pytest
from sqlalchemy import event, insert, select, update

from tests.contract.stores import MIB, Harness
from tests.unit.storage.rows.faults import BLOB, fail, owned_by
from webapp.storage import leases, rows
from webapp.storage.database import DatabaseStore
from webapp.storage.errors import BlobBusy
from webapp.storage.leases import LEASE_S
from webapp.storage.tables import RowState, blob_chunk, blob_store

pytestmark = pytest.mark.both_databases
CHUNK_COLUMNS = ["blob_id", "start", "data"]
NEXT_CHUNK = select(blob_chunk.c.blob_id, blob_chunk.c.start + MIB, blob_chunk.c.data)
ELSEWHERE = "another machine/1/1/00"


# -- leases


def test_a_lease_of_another_machine_is_respected_until_it_ran_out(harness: Harness) -> None:
    harness.start(BLOB, 2 * MIB)
    owned_by(harness, ELSEWHERE, seconds_ago=LEASE_S // 2)
    with pytest.raises(BlobBusy):
        harness.store.writer(BLOB.sha256, BLOB.size)
    with pytest.raises(BlobBusy):
        harness.store.drop_partial(BLOB.sha256)
    owned_by(harness, ELSEWHERE, seconds_ago=LEASE_S)
    with harness.store.writer(BLOB.sha256, BLOB.size) as writer:
        assert writer.offset == 2 * MIB


def test_a_lease_of_the_future_counts_from_now(harness: Harness) -> None:
    harness.start(BLOB, 2 * MIB)
    owned_by(harness, ELSEWHERE, seconds_ago=-86400)  # the clock was set back by a day
    with pytest.raises(BlobBusy):
        harness.store.writer(BLOB.sha256, BLOB.size)
    owned_by(harness, ELSEWHERE, seconds_ago=LEASE_S)
    with harness.store.writer(BLOB.sha256, BLOB.size) as writer:
        assert writer.offset == 2 * MIB


def test_who_lost_his_lease_writes_nothing_more(harness: Harness) -> None:
    slow = harness.store.writer(BLOB.sha256, BLOB.size)
    slow.write(BLOB.data[:MIB])
    owned_by(harness, ELSEWHERE, seconds_ago=2 * LEASE_S)
    with harness.store.writer(BLOB.sha256, BLOB.size) as quick:
        with pytest.raises(BlobBusy):
            slow.write(BLOB.data[MIB : 2 * MIB])
        slow.discard()
        quick.write(BLOB.data[MIB:])
        quick.commit()
    with pytest.raises(ValueError, match="closed"):
        slow.commit()
    assert harness.get(BLOB) == BLOB.data
    assert harness.leftovers() == []


def test_who_lost_his_lease_commits_nothing(harness: Harness) -> None:
    slow = harness.store.writer(BLOB.sha256, BLOB.size)
    slow.write(BLOB.data)
    slow.flush()
    owned_by(harness, ELSEWHERE, seconds_ago=2 * LEASE_S)
    harness.store.drop_partial(BLOB.sha256)
    with pytest.raises(BlobBusy):
        slow.commit()
    slow.close()
    assert harness.store.stat(BLOB.sha256) is None
    assert harness.leftovers() == []


def test_a_writer_that_does_not_know_what_was_stored_stores_no_more(harness: Harness) -> None:
    with harness.store.writer(BLOB.sha256, BLOB.size) as writer:
        writer.write(BLOB.data[:MIB])
        with harness.engine.begin() as connection:  # a commit whose answer was lost
            connection.execute(update(blob_store).values(received=2 * MIB))
            connection.execute(insert(blob_chunk).from_select(CHUNK_COLUMNS, NEXT_CHUNK))
        with pytest.raises(BlobBusy):
            writer.write(BLOB.data[MIB : 2 * MIB])
    with harness.store.writer(BLOB.sha256, BLOB.size) as writer:
        assert writer.offset == 2 * MIB
        writer.discard()


def test_each_write_renews_the_lease(harness: Harness) -> None:
    with harness.store.writer(BLOB.sha256, BLOB.size) as writer:
        writer.write(BLOB.data[:MIB])
        with harness.engine.begin() as connection:
            connection.execute(update(blob_store).values(touched_at=1))
        writer.write(BLOB.data[MIB : 2 * MIB])
        with pytest.raises(BlobBusy):
            harness.store.writer(BLOB.sha256, BLOB.size)


def test_reading_the_part_that_is_there_renews_the_lease(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.start(BLOB, 2 * MIB)
    monkeypatch.setattr(rows, "LEASE_S", 0)
    touched = []

    @event.listens_for(harness.engine, "before_cursor_execute")
    def _note(_c: object, _k: object, statement: str, *_rest: object) -> None:
        touched.append(statement.startswith("UPDATE blob_store SET touched_at"))

    with harness.store.writer(BLOB.sha256, BLOB.size):
        assert sum(touched) == 2


def test_of_two_that_find_no_partial_one_has_to_wait(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = harness.store
    with store.writer(BLOB.sha256, BLOB.size) as writer:
        writer.write(BLOB.data[:MIB])
        monkeypatch.setattr(store._claims, "_free", lambda name, state: None)  # as it was before
        with pytest.raises(BlobBusy):
            store.writer(BLOB.sha256, BLOB.size)
        writer.write(BLOB.data[MIB:])
        writer.commit()
    assert harness.get(BLOB) == BLOB.data


def test_of_two_that_find_the_same_partial_one_has_to_wait(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.start(BLOB, MIB)
    store = harness.store
    assert isinstance(store, DatabaseStore)
    seen = store._claims._free(BLOB.sha256, RowState.PARTIAL)
    with store.writer(BLOB.sha256, BLOB.size) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(store._claims, "_free", lambda name, state: seen)
            with pytest.raises(BlobBusy):
                store.writer(BLOB.sha256, BLOB.size)
            with pytest.raises(BlobBusy):
                store.drop_partial(BLOB.sha256)
        assert writer.offset == MIB
        writer.write(BLOB.data[MIB:])
        writer.commit()


def test_who_finds_a_lease_renewed_has_to_wait(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.start(BLOB, MIB)
    owned_by(harness, ELSEWHERE, seconds_ago=2 * LEASE_S)
    store = harness.store
    assert isinstance(store, DatabaseStore)
    seen = store._claims._free(BLOB.sha256, RowState.PARTIAL)
    owned_by(harness, ELSEWHERE, seconds_ago=-2 * LEASE_S)
    monkeypatch.setattr(store._claims, "_free", lambda name, state: seen)
    with pytest.raises(BlobBusy):
        store.writer(BLOB.sha256, BLOB.size)
    with pytest.raises(BlobBusy):
        store.drop_partial(BLOB.sha256)


def test_a_lease_that_could_not_be_released_blocks_no_one_here(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = harness.store.writer(BLOB.sha256, BLOB.size)
    writer.write(BLOB.data[: 2 * MIB])
    with monkeypatch.context() as patch:
        patch.setattr(harness.engine.dialect, "do_commit", lambda _: fail(harness))
        writer.close()
    with harness.store.writer(BLOB.sha256, BLOB.size) as again:
        assert again.offset == 2 * MIB


# -- how it talks to the database


def test_leases_of_this_process_are_alive(harness: Harness) -> None:
    harness.start(BLOB, MIB)
    owned_by(harness, leases.new_owner(), seconds_ago=0)
    with pytest.raises(BlobBusy):
        harness.store.writer(BLOB.sha256, BLOB.size)
