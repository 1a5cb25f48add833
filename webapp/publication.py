# SPDX-License-Identifier: Apache-2.0
"""The publication's serial, shared by all processes of a machine.

The database says which version machines get. This file in the data folder says
which serial of it someone has seen, so that no process answers from names that
another one has already replaced:

- Whoever raised the serial writes it here after the commit.
- Whoever finds a higher one in the database writes it here before using it. So a
  writer that was killed between commit and write delays all processes alike, until
  the first of them checks the database by the clock.

The file is a hint and can be deleted at any time. Where it can't be written, or
processes have different data folders, each checks the database by the clock.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine, event, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from webapp.models import Publication, utcnow

log = structlog.get_logger(__name__)

FILE = "publication.serial"
WIDTH = 8  # bytes of the number; read and written at once

_RAISED = "slipway.publication_raised"
_SERIAL = "SELECT serial FROM publication WHERE id = 1"


class SharedSerial:
    """The number in the file. Raises nothing: where there is no file, ``value`` is None."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._file: int | None = None
        self._is_usable = False
        self._close: Callable[[], object] = _nothing

    def value(self) -> int | None:
        """The highest serial that a process of this machine saw; costs one system call."""
        if self._file is None or not self._is_usable:
            return None
        try:
            return _read(self._file)
        except OSError:
            return None

    def settle(self, seen: int | None, serial: int) -> None:
        """Note what the database says; ``seen`` was the value before it was asked.

        A lower serial counts only if no one wrote since then: it is another
        database, or one that lost its last commits in a power cut.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Opened for each write, so that threads and forks exclude each other, too.
                fcntl.flock(file, fcntl.LOCK_EX)
                held = _read(file)
                if serial > held or (serial < held and held == seen):
                    os.pwrite(file, serial.to_bytes(WIDTH, "little"), 0)
                self._keep(file)
            finally:
                os.close(file)
            self._is_usable = True
        except OSError:
            self._is_usable = False

    def close(self) -> None:
        """Give the descriptor back; from now on the database is asked."""
        self._file, self._is_usable = None, False
        self._close()

    def _keep(self, written: int) -> None:
        """Read from this file from now on, also where it replaced a deleted one.

        By a descriptor of its own: a copy of ``written`` would share and keep its lock.
        """
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._close = weakref.finalize(self, os.close, self._file)
        elif not os.path.samestat(os.fstat(written), os.fstat(self._file)):
            fresh = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(fresh, self._file, inheritable=False)  # other threads read from it
            os.close(fresh)


def _nothing() -> None:
    """No file is open yet."""


def _read(file: int) -> int:
    return int.from_bytes(os.pread(file, WIDTH, 0), "little")


# -- for those who change what machines get


def raise_serial(connection: Connection) -> bool:
    """Raise the serial; the caller commits. False where the row doesn't exist yet.

    Racks of this machine see it at their next request, once ``announce_commits`` is on.
    """
    connection.info[_RAISED] = True
    raised = connection.execute(
        update(Publication)
        .where(Publication.id == 1)
        .values(serial=Publication.serial + 1, changed_at=utcnow())
    )
    return bool(raised.rowcount)


def announce_commits(engine: Engine, shared: SharedSerial) -> None:
    """Write the serial to the file when a connection that raised it is returned."""

    @event.listens_for(engine, "checkin")
    def _announce(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        if not record.info.pop(_RAISED, False) or connection is None:
            return
        seen = shared.value()
        try:
            # Asked again, since it may have been rolled back.
            cursor = connection.cursor()
            cursor.execute(_SERIAL)
            row = cursor.fetchone()
            cursor.close()
            connection.rollback()
        except Exception as error:
            # Committed all the same: the others see it at their next look at the database.
            log.warning("a change of the published images wasn't announced", error=str(error))
        else:
            shared.settle(seen, row[0] if row else 0)
