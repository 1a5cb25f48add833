# SPDX-License-Identifier: Apache-2.0
"""What only the store of rows does: sweeping, durability, words for what failed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, event, select, text, update

from tests.contract.stores import MIB, Harness, Place, make_blob
from tests.support.databases import Queries
from tests.unit.storage.rows.faults import BLOB, fail, owned_by
from webapp.storage.database import DatabaseStore
from webapp.storage.errors import BlobMissing, StoreFull, StoreUnusable
from webapp.storage.tables import blob_chunk, blob_store, storage_metadata
from webapp.storage.transactions import SWEEP_ROWS

pytestmark = pytest.mark.both_databases


def states(harness: Harness) -> list[str]:
    with harness.engine.connect() as connection:
        return list(connection.scalars(select(blob_store.c.state).order_by(blob_store.c.state)))


# -- sweeping


def test_rows_of_a_cut_deletion_go_with_the_next_check(harness: Harness) -> None:
    harness.put(BLOB)
    with harness.engine.begin() as connection:
        connection.execute(update(blob_store).values(state="gone"))
        connection.execute(delete(blob_chunk).where(blob_chunk.c.start == 2 * MIB))
    assert harness.store.stat(BLOB.sha256) is None
    harness.put(BLOB)
    harness.store.check()
    assert states(harness) == ["ready"]
    assert harness.leftovers() == []
    assert harness.get(BLOB) == BLOB.data


def test_a_reader_of_a_half_swept_blob_gets_no_early_end(harness: Harness) -> None:
    harness.put(BLOB)
    with harness.store.open(BLOB.sha256) as reader:
        pieces = reader.chunks()
        next(pieces)
        with harness.engine.begin() as connection:
            connection.execute(delete(blob_chunk).where(blob_chunk.c.start > 0))
        with pytest.raises(BlobMissing):
            next(pieces)


def test_a_large_blob_is_removed_in_batches(
    harness: Harness, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    blob = make_blob(100_000)
    with harness.store.writer(blob.sha256, blob.size) as writer:
        for start in range(0, blob.size, 2000):
            writer.write(blob.data[start : start + 2000])
            writer.flush()
        writer.commit()
    with count_queries() as queries:
        harness.store.delete(blob.sha256)
    batches = [query for query in queries if query.startswith("DELETE FROM blob_chunk")]
    assert len(batches) == 50 // SWEEP_ROWS + 2, "the last one finds nothing"
    assert states(harness) == []
    assert harness.leftovers() == []


def test_digests_come_in_pages(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.storage.database._PAGE", 3)
    blobs = [make_blob(10, seed) for seed in range(6)]
    for blob in blobs:
        harness.put(blob)
    assert list(harness.store.digests()) == sorted(blob.sha256 for blob in blobs)


# -- how it talks to the database


def test_reading_asks_once_for_each_row_and_holds_no_connection(
    harness: Harness, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    harness.put(BLOB)
    with count_queries() as queries, harness.store.open(BLOB.sha256) as reader:
        for _ in reader.chunks(chunk=64 << 10):
            assert harness.engine.pool.checkedout() == 0
    assert len(queries) == 1 + 4, queries


def test_connections_keep_their_settings(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = "PRAGMA synchronous"
    if harness.is_postgres:
        setting = "SHOW synchronous_commit"
    with harness.engine.connect() as connection:
        before = connection.execute(text(setting)).scalar_one()
    harness.put(BLOB)
    with harness.store.writer(BLOB.sha256, BLOB.size) as writer:
        writer.write(BLOB.data)
        writer.flush()
        with monkeypatch.context() as patch:
            patch.setattr(harness.engine.dialect, "do_commit", lambda _: fail(harness))
            with pytest.raises(StoreFull):
                writer.commit()
        writer.commit()
    with harness.engine.connect() as connection:
        assert connection.execute(text(setting)).scalar_one() == before


def test_a_commit_is_on_the_disk(harness: Harness) -> None:
    asked: list[str] = []

    @event.listens_for(harness.engine, "before_cursor_execute")
    def _note(_c: object, _k: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    harness.put(BLOB)
    last = max(index for index, statement in enumerate(asked) if "UPDATE blob_store" in statement)
    before = asked[: last - 1]
    if harness.is_postgres:
        slack = "SET LOCAL synchronous_commit = off"
        assert before.count(slack) == 1 + 4, "claiming, and one for each row"
        assert asked[last - 2] != slack
    else:
        assert before[-1] == "PRAGMA synchronous = FULL"


def test_bytes_in_postgres_are_not_compressed_again(harness: Harness) -> None:
    if not harness.is_postgres:
        pytest.skip("SQLite does not compress")
    query = "SELECT attstorage FROM pg_attribute WHERE attname='data' AND attrelid=%s::regclass"
    with harness.engine.connect() as connection:
        storage = connection.exec_driver_sql(query, ("blob_chunk",)).scalar_one()
    assert storage in ("e", b"e")


def test_a_database_without_the_tables_is_a_problem(harness: Harness) -> None:
    storage_metadata.drop_all(harness.engine)
    for use in (harness.store.check, lambda: harness.store.stat(BLOB.sha256)):
        with pytest.raises(StoreUnusable) as caught:
            use()
        assert "blob_store" in caught.value.got
        assert "slipway db upgrade" in caught.value.next_step


def test_problems_show_no_password_and_no_bytes(harness: Harness) -> None:
    url = harness.engine.url.set(password="hunter2") if harness.is_postgres else harness.engine.url
    engine = create_engine(url)
    store = DatabaseStore(engine)
    storage_metadata.tables["blob_chunk"].drop(harness.engine)
    with store.writer(BLOB.sha256, BLOB.size) as writer, pytest.raises(StoreUnusable) as caught:
        writer.write(b"SECRET" * 200_000)
    shown = str(caught.value) + repr(caught.value.__cause__)
    assert "hunter2" not in shown
    assert "SECRET" not in shown
    engine.dispose()


def test_a_power_cut_leaves_whole_blobs_and_usable_partials(
    harness: Harness, tmp_path: Path
) -> None:
    if harness.is_postgres:
        pytest.skip("PostgreSQL's own log cannot be cut from here")

    @event.listens_for(harness.engine, "connect")
    def _keep_log(connection: object, _record: object) -> None:
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # type: ignore[attr-defined]

    harness.engine.dispose()
    small = make_blob(300_000, seed=3)
    harness.put(small)
    harness.start(BLOB, 2 * MIB)
    harness.put(BLOB)
    database = Path(str(harness.engine.url.database))
    log = database.with_name(database.name + "-wal")
    dice, ends = random.Random(5), set()
    for cut in [0, *(dice.randrange(log.stat().st_size) for _ in range(12))]:
        copy = tmp_path / f"cut-{cut}.db"
        shutil.copyfile(database, copy)
        copy.with_name(copy.name + "-wal").write_bytes(log.read_bytes()[:cut])
        engine = create_engine(f"sqlite:///{copy}")
        storage_metadata.create_all(engine)
        engine.dispose()
        after = Harness(Place("database", tmp_path, f"sqlite:///{copy}"))
        owned_by(after, "", seconds_ago=0)  # the machine started anew
        whole = list(after.store.digests())
        ends.add(len(whole))
        for digest in whole:
            assert after.store.verify(digest)
        for blob in (small, BLOB):
            after.put(blob)
            assert after.get(blob) == blob.data
        after.store.check()
        assert after.leftovers() == []
        after.engine.dispose()
    assert len(ends) > 1, "cuts before and after the first commit were tried"
