# SPDX-License-Identifier: Apache-2.0
"""What racks wait for: one thread of a process looks at the database for all of them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.models import PublishedDocument, PublishedStream, Rack, utcnow
from webapp.services.racks.offering import Known, Offer, Settings, Stream, offers
from webapp.streams.model import INDEX_PATH

log = structlog.get_logger(__name__)

CHECK_S = 0.5  # between looks at the database while racks wait
AGAIN_S = 2  # for a rack that finds every place taken


@dataclass(frozen=True)
class Answer:
    """The offer. again_s: seconds to wait before the next question, 0 to ask at once."""

    offer: Offer
    again_s: int


class Board:
    """The offers of all racks. places: how many racks may wait, each of which takes a thread.

    The thread that looks starts with the first that waits and ends after the last: threads
    don't live through a fork.
    """

    def __init__(self, engine: Engine, places: int) -> None:
        self._engine = engine
        self._places = places
        self._offers: Mapping[int, Offer] = {}
        self._read_at = -math.inf
        self._waiting = 0
        self._is_watched = False
        self._changed = threading.Condition()
        self._reading = threading.Lock()

    def wait(
        self, rack_id: int, after: int, seconds: float, is_wanted: Callable[[], bool]
    ) -> Answer | None:
        """What a rack is offered, once it isn't ``after``, or after these seconds.

        is_wanted: asked twice a second; False ends the wait. None: there is no such rack.
        Raises SQLAlchemyError when the database doesn't answer the first question.
        """
        self._settle(rack_id, after)
        until = time.monotonic() + seconds
        with self._changed:
            found = self._offers.get(rack_id)
            if found is None or found.state != after or seconds <= 0:
                return Answer(found, 0) if found else None
            if self._waiting >= self._places:
                return Answer(found, AGAIN_S)
            self._waiting += 1
            self._watch()
            try:
                while found is not None and found.state == after and is_wanted():
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(min(left, CHECK_S))
                    found = self._offers.get(rack_id)
            finally:
                self._waiting -= 1
        return Answer(found, 0) if found else None

    def _watch(self) -> None:
        """Start the thread where there is none; called with the lock held."""
        if not self._is_watched:
            self._is_watched = True
            threading.Thread(target=self._run, name="racks", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(CHECK_S)
            with self._changed:
                if not self._waiting:
                    self._is_watched = False
                    return
            try:
                self._read()
            except SQLAlchemyError as error:
                log.warning("what racks wait for could not be read", error=str(error))

    def _settle(self, rack_id: int, after: int) -> None:
        """Look at the database unless someone just did, and the rack holds what they saw.

        Another process may have told the rack of a later state than the last look showed.
        """
        found = self._offers.get(rack_id)
        is_old = time.monotonic() - self._read_at >= CHECK_S
        if is_old or found is None or found.state != after:
            self._read()

    def _read(self) -> None:
        with self._reading:  # one after the other: an earlier look never replaces a later one
            with self._engine.connect() as connection:
                found = read(connection)
            with self._changed:
                self._offers, self._read_at = found, time.monotonic()
                self._changed.notify_all()


def read(connection: Connection) -> dict[int, Offer]:
    """The offers of all racks, in two queries."""
    racks = {row.id: _known(row) for row in connection.execute(select(*_COLUMNS))}
    return offers(stream(connection), racks, utcnow())


def stream(connection: Connection) -> Stream:
    """The stream that the region serves."""
    index = (
        select(PublishedDocument.sha256).where(PublishedDocument.path == INDEX_PATH)
    ).scalar_subquery()
    row = connection.execute(
        select(PublishedStream.revision, PublishedStream.serial, index)
    ).first()
    if row is None:
        return Stream()
    revision, serial, sha256 = row
    return Stream(revision, max(serial, 0), sha256 or "")


_COLUMNS = (
    Rack.id,
    Rack.mode,
    Rack.images,
    Rack.max_bytes,
    Rack.rate,
    Rack.upstreams,
    Rack.is_drained,
    Rack.verifications,
    Rack.after_rack_id,
    Rack.settings_revision,
    Rack.held_state,
    Rack.seen_at,
    Rack.offered_revision,
    Rack.offered_serial,
)


def _known(row: Row[*tuple[Any, ...]]) -> Known:
    return Known(
        row.id,
        Settings(
            row.mode,
            tuple(row.images),
            row.max_bytes,
            row.rate,
            tuple(row.upstreams),
            row.is_drained,
            row.verifications,
            row.after_rack_id,
        ),
        row.settings_revision,
        row.held_state,
        row.seen_at,
        Stream(row.offered_revision, row.offered_serial),
    )
