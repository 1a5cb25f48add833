# SPDX-License-Identifier: Apache-2.0
"""Faults for stores: one system call or one statement that fails, chosen by its number."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
from sqlalchemy import event

from tests.contract.stores import Harness


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
