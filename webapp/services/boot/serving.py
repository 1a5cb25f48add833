# SPDX-License-Identifier: Apache-2.0
"""The boot table and the boot loaders in the memory of a process that serves machines."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from webapp.services.boot.choosing import Table
from webapp.services.boot.loaders import LoaderFile, read_loaders
from webapp.services.boot.reading import read_table
from webapp.services.images.serving import NamesUnread

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BootState:
    """What machines boot at one serial: the table, and the files of boot loaders by path.

    awaited: paths whose files aren't here yet.
    """

    serial: int
    table: Table
    loaders: Mapping[str, LoaderFile]
    awaited: frozenset[str] = frozenset()


class BootMap:
    """Gives the state, read again when the publication's serial changes.

    When the database doesn't answer, the last one stays in force.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state: BootState | None = None
        self._reading = threading.Lock()

    def at(self, serial: int) -> BootState:
        """The state of this serial, or a later one. Raises NamesUnread before the first."""
        state = self._state
        if state is None or serial != state.serial:
            with self._reading:
                state = self._state
                if state is None or serial != state.serial:
                    state = self._state = self._read(serial, state)
        if state is None:
            raise NamesUnread()
        return state

    def _read(self, serial: int, known: BootState | None) -> BootState | None:
        try:
            with self._engine.connect() as connection:
                loaders = read_loaders(connection, known.loaders if known else {})
                return BootState(serial, read_table(connection), loaders)
        except SQLAlchemyError as error:
            log.warning("the boot table could not be read", error=str(error))
            return known
