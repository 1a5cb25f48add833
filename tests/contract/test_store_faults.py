# SPDX-License-Identifier: Apache-2.0
"""Disks that fail or fill up, at each step (rules: every-step-may-fail, full-disk)."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest
from sqlalchemy import event

from tests.contract.faults import Fault, failing_calls, failing_statements
from tests.contract.stores import MIB, Blob, Harness, make_blob
from webapp.storage import files, writeback
from webapp.storage.errors import StoreFull, StoreProblem, StoreUnusable
from webapp.storage.objects import ObjectStore

OLD = make_blob(70_000, seed=1)
NEW = make_blob(2 * MIB + 17)
PARTS = make_blob(6 * MIB)  # a part and a bit of an object, also when half of it is there
STEPS = ("write", "fsync", "rename", "mkdir", "open", "fstat", "pread", "statvfs", "stat")
FILES = pytest.mark.parametrize("place", ["filesystem"], indirect=True)
ROWS = pytest.mark.parametrize(
    "place", ["database-sqlite", "database-postgres", "s3"], indirect=True
)


def store_in_two_steps(harness: Harness, blob: Blob) -> None:
    """All that a writer does: start, write, close, resume, write, commit."""
    half = blob.size // 2
    with harness.store.writer(blob.sha256, blob.size) as writer:
        if writer.offset < half:
            writer.write(blob.data[writer.offset : half])
    with harness.store.writer(blob.sha256, blob.size) as writer:
        writer.write(memoryview(blob.data)[writer.offset :])
        writer.commit()


def assert_nothing_is_lost(harness: Harness, new: Blob) -> None:
    """The old blob is as it was; the new one is not there, or whole; a new try succeeds."""
    assert harness.get(OLD) == OLD.data
    if harness.store.stat(new.sha256) is not None:
        assert harness.get(new) == new.data
    store_in_two_steps(harness, new)
    assert harness.get(new) == new.data
    harness.store.check()
    if isinstance(harness.store, ObjectStore):
        harness.store.sweep(orphan_s=0)
    assert harness.leftovers() == []
    harness.store.delete(new.sha256)


def strike_each_call(
    harness: Harness, fault: Fault, expected: type[StoreProblem], new: Blob = NEW
) -> int:
    """Fail at the first call, then at the second, and so on until the work needs no more."""
    harness.put(OLD)
    for number in range(1, 200):
        fault.arm(number)
        problem = None
        try:
            store_in_two_steps(harness, new)
        except StoreProblem as raised:
            problem = raised
        fault.is_armed = False
        if not fault.has_struck:
            assert problem is None
            harness.store.delete(new.sha256)
            return number - 1
        if problem is not None:
            assert isinstance(problem, expected), f"{number}: {problem}"
            assert problem.next_step
        assert_nothing_is_lost(harness, new)
    raise AssertionError("it never ends")


@FILES
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR])
@pytest.mark.parametrize("step", STEPS)
def test_a_failing_system_call_loses_nothing(harness: Harness, step: str, number: int) -> None:
    expected = StoreFull if number in (errno.ENOSPC, errno.EDQUOT) else StoreUnusable
    with failing_calls(step, number) as fault:
        calls = strike_each_call(harness, fault, expected)
    assert calls > 0


@FILES
def test_advice_that_the_kernel_refuses_is_not_missed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STRIDE", 1000)
    with failing_calls("posix_fadvise", errno.EINVAL) as fault:
        fault.arm(1)
        with harness.store.writer(OLD.sha256, OLD.size) as writer:
            writer.write(OLD.data[:50_000])
            writer.write(OLD.data[50_000:])
            writer.commit()
        writeback.finish()
    assert fault.has_struck
    assert harness.get(OLD) == OLD.data


@ROWS
@pytest.mark.parametrize("is_full", [True, False])
def test_a_failing_statement_loses_nothing(harness: Harness, is_full: bool) -> None:
    with failing_statements(harness, is_full) as fault:
        expected = StoreFull if is_full else StoreUnusable
        calls = strike_each_call(harness, fault, expected, PARTS if harness.is_objects else NEW)
    assert calls > 10


@pytest.mark.parametrize("place", ["database-sqlite"], indirect=True)
def test_a_database_file_at_its_limit_is_a_full_store(harness: Harness) -> None:
    harness.put(OLD)
    harness.engine.dispose()

    @event.listens_for(harness.engine, "connect")
    def _limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 100")

    with pytest.raises(StoreFull) as caught:
        harness.put(NEW)
    assert caught.value.needed == NEW.size
    assert harness.get(OLD) == OLD.data
    assert list(harness.store.digests()) == [OLD.sha256]


@FILES
def test_bytes_after_a_failed_fsync_are_not_believed(harness: Harness) -> None:
    with failing_calls("fsync", errno.EIO) as fault:
        with harness.store.writer(NEW.sha256, NEW.size) as writer:
            writer.write(NEW.data)
            fault.arm(1)
            with pytest.raises(StoreUnusable):
                writer.commit()
    assert list(harness.store.partials()) == []


@FILES
def test_a_kernel_that_takes_less_than_it_was_given_is_asked_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:30_001]))
    harness.put(OLD)
    assert harness.get(OLD) == OLD.data


@FILES
def test_what_the_kernel_took_before_it_failed_counts(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with harness.store.writer(OLD.sha256, OLD.size) as writer:
        with failing_calls("write", errno.ENOSPC) as fault, monkeypatch.context() as patch:
            failing = os.write
            patch.setattr(os, "write", lambda fd, data: failing(fd, data[:30_001]))
            fault.arm(2)
            with pytest.raises(StoreFull) as caught:
                writer.write(OLD.data)
        assert os.write is real
        assert writer.offset == 30_001
        assert caught.value.needed == OLD.size - 30_001
        writer.write(OLD.data[30_001:])
        writer.commit()
    assert harness.get(OLD) == OLD.data


@FILES
def test_a_disk_that_fills_up_stops_the_writer_while_there_is_spare_room(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STRIDE", 1000)
    with harness.store.writer(OLD.sha256, OLD.size) as writer:
        writer.write(OLD.data[:50_000])
        with monkeypatch.context() as patch:
            patch.setattr(files, "free_of", lambda root: 999)
            for _ in range(2):
                with pytest.raises(StoreFull) as caught:
                    writer.write(OLD.data[50_000:])
                assert (caught.value.needed, caught.value.free) == (OLD.size - 50_000, 999)
        assert writer.offset == 50_000
        writer.write(OLD.data[50_000:])
        writer.commit()
    assert harness.get(OLD) == OLD.data
