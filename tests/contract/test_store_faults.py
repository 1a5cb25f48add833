# SPDX-License-Identifier: Apache-2.0
"""Disks that fail and fill up, at each step that touches them (C3, C5)."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest
from sqlalchemy import event

from tests.contract.stores import MIB, Blob, Harness, make_blob
from webapp.storage import files
from webapp.storage.errors import StoreFull, StoreProblem, StoreUnusable

OLD = make_blob(70_000, seed=1)
NEW = make_blob(2 * MIB + 17)
STEPS = ("write", "fsync", "rename", "mkdir", "open", "fstat", "preadv", "statvfs", "stat")
FILES = pytest.mark.parametrize("place", ["filesystem"], indirect=True)
ROWS = pytest.mark.parametrize("place", ["database-sqlite", "database-postgres"], indirect=True)


class Fault:
    """Fails at one of the calls that it counts."""

    def __init__(self, make_error: Callable[[], Exception]) -> None:
        self.make_error = make_error
        self.countdown = 0
        self.is_armed = False

    def arm(self, number: int) -> None:
        """Fail at the call of this number, counted from one."""
        self.countdown, self.is_armed = number, True

    @property
    def has_struck(self) -> bool:
        """Whether there were that many calls."""
        return self.countdown <= 0

    def count(self) -> None:
        """Note one call; raises the error when it is its turn."""
        if self.is_armed:
            self.countdown -= 1
            if self.countdown == 0:
                raise self.make_error()


@contextmanager
def failing_calls(step: str, number: int) -> Iterator[Fault]:
    """Let one system call of the store's files fail."""
    fault = Fault(lambda: OSError(number, os.strerror(number)))
    real = getattr(os, step)

    def call(*args: Any, **kwargs: Any) -> Any:
        fault.count()
        return real(*args, **kwargs)

    with mock.patch.object(os, step, call):
        yield fault


@contextmanager
def failing_statements(harness: Harness, is_full: bool) -> Iterator[Fault]:
    """Let one statement or commit of the store's database fail, as its driver says it."""
    fault = Fault(lambda: driver_error(harness, is_full))
    dialect = harness.engine.dialect
    real_commit = dialect.do_commit

    def execute(*_args: Any) -> None:
        fault.count()

    def commit(connection: Any) -> None:
        fault.count()
        real_commit(connection)

    event.listen(harness.engine, "do_execute", execute)
    try:
        with mock.patch.object(dialect, "do_commit", commit):
            yield fault
    finally:
        event.remove(harness.engine, "do_execute", execute)


def driver_error(harness: Harness, is_full: bool) -> Exception:
    """What the driver raises for a full disk or a broken one."""
    if harness.is_postgres:
        return psycopg.errors.DiskFull("full") if is_full else psycopg.errors.IoError("broken")
    error = sqlite3.OperationalError("database or disk is full" if is_full else "disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL if is_full else sqlite3.SQLITE_IOERR
    return error


def store_in_two_goes(harness: Harness, blob: Blob) -> None:
    """All that a writer does: start, write, close, resume, write, commit."""
    half = blob.size // 2
    with harness.store.writer(blob.sha256, blob.size) as writer:
        if writer.offset < half:
            writer.write(blob.data[writer.offset : half])
    with harness.store.writer(blob.sha256, blob.size) as writer:
        writer.write(memoryview(blob.data)[writer.offset :])
        writer.commit()


def assert_nothing_is_lost(harness: Harness) -> None:
    """The old blob is as it was; the new one is not there, or whole; a new try succeeds."""
    assert harness.get(OLD) == OLD.data
    if harness.store.stat(NEW.sha256) is not None:
        assert harness.get(NEW) == NEW.data
    store_in_two_goes(harness, NEW)
    assert harness.get(NEW) == NEW.data
    harness.store.check()
    assert harness.leftovers() == []
    harness.store.delete(NEW.sha256)


def strike_each_call(harness: Harness, fault: Fault, expected: type[StoreProblem]) -> int:
    """Fail at the first call, then at the second, and so on until the work needs no more."""
    harness.put(OLD)
    for number in range(1, 200):
        fault.arm(number)
        problem = None
        try:
            store_in_two_goes(harness, NEW)
        except StoreProblem as raised:
            problem = raised
        fault.is_armed = False
        if not fault.has_struck:
            assert problem is None
            harness.store.delete(NEW.sha256)
            return number - 1
        if problem is not None:
            assert isinstance(problem, expected), f"{number}: {problem}"
            assert problem.next_step
        assert_nothing_is_lost(harness)
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
    assert fault.has_struck
    assert harness.get(OLD) == OLD.data


@ROWS
@pytest.mark.parametrize("is_full", [True, False])
def test_a_failing_statement_loses_nothing(harness: Harness, is_full: bool) -> None:
    with failing_statements(harness, is_full) as fault:
        calls = strike_each_call(harness, fault, StoreFull if is_full else StoreUnusable)
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
