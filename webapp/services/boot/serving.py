# SPDX-License-Identifier: Apache-2.0
"""The boot table in the memory of a process that serves machines."""

from __future__ import annotations

import threading

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from webapp.services.boot.choosing import Table
from webapp.services.boot.reading import read_table
from webapp.services.images.serving import NamesUnread

log = structlog.get_logger(__name__)


class BootMap:
    """Gives the table, read again when the publication's serial changes.

    When the database doesn't answer, the last one stays in force.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._table: Table | None = None
        self._serial = -1
        self._reading = threading.Lock()

    def at(self, serial: int) -> Table:
        """The table of this serial, or a later one. Raises NamesUnread before the first."""
        if self._table is None or serial != self._serial:
            with self._reading:
                if self._table is None or serial != self._serial:
                    self._read(serial)
        if self._table is None:
            raise NamesUnread()
        return self._table

    def _read(self, serial: int) -> None:
        try:
            with self._engine.connect() as connection:
                self._table, self._serial = read_table(connection), serial
        except SQLAlchemyError as error:
            log.warning("the boot table could not be read", error=str(error))
