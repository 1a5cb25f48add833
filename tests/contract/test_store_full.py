# SPDX-License-Identifier: Apache-2.0
"""A disk that is really full: a small file system of its own (rule: full-disk)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.contract.conftest import KINDS
from tests.contract.stores import MIB, Blob, Harness, Place, make_blob
from tests.support.full_disk import fill, small_disk
from tests.support.postgres import Cluster
from webapp.storage.base import BlobWriter
from webapp.storage.errors import StoreFull

# An S3 server's own disk: tests/contract/test_store_objects.py.
ON_DISK = tuple(kind for kind in KINDS if kind != "s3")
DISK = 72 * MIB
HELD = make_blob(2 * MIB, seed=1)
NEW = make_blob(6 * MIB + 17)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder with a file system of 72 MiB in it."""
    with small_disk(DISK) as folder:
        yield folder


@pytest.fixture
def tablespace(request: pytest.FixtureRequest, disk: Path) -> Iterator[str]:
    """A PostgreSQL database whose tables lie on the disk."""
    cluster: Cluster = request.getfixturevalue("cluster")
    folder = disk / "tables"
    folder.mkdir(mode=0o777)
    owner = cluster.folder.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        place = sql.Literal(str(folder))
        connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(place))
        connection.execute("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
        yield cluster.url("small")
        connection.execute("DROP DATABASE small WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")


@pytest.fixture(params=ON_DISK)
def place(request: pytest.FixtureRequest, disk: Path) -> Place:
    """A store of each kind on the disk."""
    kind, _, dialect = str(request.param).partition("-")
    url = f"sqlite:///{disk / 'region.db'}"
    if dialect == "postgres":
        url = request.getfixturevalue("tablespace")
    return Place(kind, disk / "store", url)


def write_rest(writer: BlobWriter, blob: Blob) -> None:
    """Write what is missing, a piece at a time, and commit."""
    while writer.offset < blob.size:
        writer.write(memoryview(blob.data)[writer.offset : writer.offset + MIB])
    writer.commit()


@pytest.mark.parametrize("place", ["filesystem", "database-sqlite"], indirect=True)
def test_what_cannot_fit_is_refused_before_the_first_byte(harness: Harness, disk: Path) -> None:
    harness.put(HELD)
    size = 10 * DISK
    with pytest.raises(StoreFull) as caught:
        harness.store.writer("0" * 64, size)
    assert caught.value.needed == size
    assert caught.value.free is not None
    assert 0 < caught.value.free < DISK
    assert str(size) in caught.value.expected
    assert str(caught.value.free) in caught.value.got
    assert list(harness.store.partials()) == []
    harness.start(NEW, 4 * MIB)
    filling = fill(disk)
    with pytest.raises(StoreFull) as caught:
        harness.store.writer(NEW.sha256, NEW.size)
    assert caught.value.needed == NEW.size - 4 * MIB
    assert [partial.received for partial in harness.store.partials()] == [4 * MIB]
    assert harness.get(HELD) == HELD.data
    filling.unlink()
    harness.store.drop_partial(NEW.sha256)


def test_a_disk_that_fills_up_stops_the_writer_and_nothing_else(
    harness: Harness, disk: Path
) -> None:
    harness.put(HELD)
    with harness.store.writer(NEW.sha256, NEW.size) as writer:
        writer.write(NEW.data[: 3 * MIB])
        filling = fill(disk)
        with pytest.raises(StoreFull) as caught:
            write_rest(writer, NEW)
        assert 0 < caught.value.needed <= NEW.size - 2 * MIB
        assert caught.value.free == (None if harness.is_postgres else 0)
        assert caught.value.next_step

        assert harness.get(HELD) == HELD.data
        assert harness.store.verify(HELD.sha256)
        assert list(harness.store.digests()) == [HELD.sha256]
        assert harness.store.stat(NEW.sha256) is None
        accepted = writer.offset
    assert harness.get(HELD) == HELD.data

    filling.unlink()
    with harness.store.writer(NEW.sha256, NEW.size) as writer:
        assert accepted - harness.held_back <= writer.offset <= accepted
        write_rest(writer, NEW)
    assert harness.get(NEW) == NEW.data


def test_a_full_disk_can_be_emptied_through_the_store(harness: Harness, disk: Path) -> None:
    harness.put(HELD)
    harness.start(NEW, 3 * MIB)
    filling = fill(disk)
    if harness.is_files:
        with pytest.raises(StoreFull):
            harness.store.check()
    harness.store.delete(HELD.sha256)
    harness.store.drop_partial(NEW.sha256)
    assert list(harness.store.digests()) == []
    assert list(harness.store.partials()) == []
    filling.unlink()
    harness.put(HELD)
    harness.store.check()


def test_an_upload_that_does_not_fit_keeps_what_came_and_continues_later(
    harness: Harness, disk: Path
) -> None:
    token = "ab" * 32
    harness.put(HELD)
    with harness.store.receiver(token, NEW.size) as receiver:
        receiver.write(NEW.data[:MIB])
        receiver.settle()
    filling = fill(disk)
    with pytest.raises(StoreFull):
        fill_up(harness, token)
    assert harness.get(HELD) == HELD.data
    filling.unlink()
    with harness.store.receiver(token, NEW.size) as receiver:
        assert receiver.offset >= MIB
        receiver.cut(MIB)
        receiver.write(NEW.data[MIB:])
        receiver.settle()
        receiver.adopt(NEW.sha256)
    assert harness.get(NEW) == NEW.data


def fill_up(harness: Harness, token: str) -> None:
    """Send the rest of an upload, which does not fit."""
    with harness.store.receiver(token, NEW.size) as receiver:
        receiver.write(NEW.data[MIB:])
        receiver.settle()
