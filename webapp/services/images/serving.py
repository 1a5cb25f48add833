# SPDX-License-Identifier: Apache-2.0
"""Which bytes a name means just now."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import Problem
from webapp.models import Publication, utcnow
from webapp.publication import SharedSerial
from webapp.services.images.published import Located, PublishedNames, read_names

log = structlog.get_logger(__name__)

CHECK_S = 1.0  # between checks of the database, if no process of this machine saw a change
LATE_S = 5.0  # a map not checked for so long is checked before it is used
WAIT_S = 2.0  # then requests wait this long for the one that checks it


class NamesUnread(Problem):
    """What a name means couldn't be learnt since this process started."""

    code = "names-unread"

    def __init__(
        self,
        what: str = "The list of published images couldn't be read yet.",
        check: str = "Check the database.",
    ) -> None:
        super().__init__(what, next_step=f"{check} Each request tries again.")


class PublishedMap:
    """The published names, kept in memory and read again when they changed.

    shared: tells that a process of this machine saw a change; the next request reads
    the names again. Otherwise, whichever request comes first after CHECK_S checks the
    publication's serial while the others use the current names. When the database does
    not answer, the last names stay in force: machines keep booting.
    """

    def __init__(self, engine: Engine, grace_s: int, shared: SharedSerial) -> None:
        self._engine = engine
        self._grace = timedelta(seconds=grace_s)
        self._shared = shared
        self._names: PublishedNames | None = None
        self._checked_at = self._refreshing_since = -math.inf
        self._refreshing = threading.Lock()
        self._is_failing = False

    def locate(self, path: str) -> Located | None:
        """What a name means, not more than about CHECK_S ago."""
        return self.names().locate(path)

    def names(self, *, refresh: bool = False) -> PublishedNames:
        """The names in force; ``refresh`` checks the publication in any case.

        Raises NamesUnread when they could not be read even once.
        """
        now = time.monotonic()
        if not refresh and self._is_fresh(now):
            return self._in_force()
        patience = 0.0
        if self._names is None or refresh or self._is_replaced() or now - self._checked_at > LATE_S:
            # Names this old are worth a wait, but not one for a database that hangs.
            patience = max(0.0, self._refreshing_since + WAIT_S - now)
        if self._refreshing.acquire(timeout=patience):
            try:
                if refresh or not self._is_fresh(time.monotonic()):
                    self._refresh()
            finally:
                self._refreshing.release()
        return self._in_force()

    def names_at_once(self) -> PublishedNames | None:
        """The names in force; None when ``names`` might have to wait for the database."""
        return self._names if self._is_fresh(time.monotonic()) else None

    def _in_force(self) -> PublishedNames:
        if self._names is None:
            raise NamesUnread()
        return self._names

    def _is_fresh(self, now: float) -> bool:
        return now - self._checked_at < CHECK_S and (self._is_failing or not self._is_replaced())

    def _is_replaced(self) -> bool:
        """Whether a process of this machine saw other names than these."""
        return self._names is None or self._shared.value() not in (None, self._names.serial)

    def _refresh(self) -> None:
        """Read the names again if the publication changed or a grace time ended."""
        self._refreshing_since = time.monotonic()
        try:
            seen = self._shared.value()
            with self._engine.connect() as connection:
                names = self._read(connection)
            if seen != names.serial:
                self._shared.settle(seen, names.serial)  # before anything is served from them
            self._names = names
            if self._is_failing:
                log.info("the published names can be read again")
            self._is_failing = False
        except SQLAlchemyError as error:
            if not self._is_failing:  # once, not every second
                log.warning("the published names could not be read", error=str(error))
            self._is_failing = True
        self._checked_at = time.monotonic()

    def _read(self, connection: Connection) -> PublishedNames:
        """The names of the database's serial: those in memory, if they are still right."""
        names, now = self._names, utcnow()
        if names is not None and names.until is not None and now >= names.until:
            names = None
        serial = _serial(connection)
        while names is None or names.serial != serial:
            names = read_names(connection, serial, self._grace, now)
            serial = _serial(connection)  # raised in the meantime: they may be of either
        return names


def _serial(connection: Connection) -> int:
    return connection.scalar(select(Publication.serial)) or 0
