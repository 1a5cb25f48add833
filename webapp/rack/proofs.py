# SPDX-License-Identifier: Apache-2.0
"""Before a machine gets the first byte of a file: is it still the file that was verified?

Its size and mtime have to be those that were recorded when its bytes were hashed. What
differs is hashed first, once per process, while those who ask for it wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from webapp.models import BlobFault
from webapp.services.blobs import damage
from webapp.services.blobs.damage import Verified
from webapp.services.images.published import Located
from webapp.storage.base import BlobReader, BlobStat, BlobStore
from webapp.storage.errors import BlobMissing, StoreProblem

log = structlog.get_logger(__name__)


class Proofs:
    """Opens files for machines and reports bad ones to the region."""

    def __init__(self, store: BlobStore, engine: Engine) -> None:
        self._store = store
        self._engine = engine
        self._hashed: set[tuple[str, int | None]] = set()  # (sha256, mtime) of good files
        self._hashing: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def open(self, found: Located) -> BlobReader | None:
        """Open the bytes of a name, whole and as they were verified; None when they aren't."""
        try:
            reader = self._store.open(found.sha256)
        except StoreProblem:
            return None
        if reader.size == found.size and (
            self.is_same(found, reader.mtime_ns) or self._is_good(found, reader.mtime_ns)
        ):
            return reader
        reader.close()
        return None

    def is_proved(self, found: Located) -> bool:
        """Whether a file can be handed over by its path without being opened here."""
        try:
            stat = self._store.stat(found.sha256)
        except StoreProblem:
            return False
        return stat is not None and stat.size == found.size and self.is_same(found, stat.mtime_ns)

    def report(self, found: Located) -> None:
        """Find out why a published file can't be served, and have it replaced.

        Nothing is reported when the store as a whole can't be read.
        """
        try:
            stat = self._store.stat(found.sha256)
            fault = damage.fault_of(_verified(found), stat, self._store)
            if fault is None:
                with self._store.open(found.sha256) as reader:
                    next(iter(reader.chunks(stop=1)), b"")
        except StoreProblem as problem:
            self._report_unreadable(found, problem)
        else:
            if fault is not None:
                self._note(found, fault)

    def watched(self, pieces: Iterator[bytes], found: Located) -> Iterator[bytes]:
        """The pieces; what can't be read on the way is reported."""
        try:
            yield from pieces
        except StoreProblem as problem:
            if isinstance(problem, BlobMissing) and found.mtime_ns is not None:
                self.report(found)  # it may have been replaced by the same bytes
            else:
                self._report_unreadable(found, problem)
            raise

    def is_same(self, found: Located, mtime_ns: int | None) -> bool:
        """Whether a file with this mtime is the one whose bytes were hashed."""
        return found.mtime_ns in (None, mtime_ns) or (found.sha256, mtime_ns) in self._hashed

    def _is_good(self, found: Located, mtime_ns: int | None) -> bool:
        """Hash a file whose mtime changed; those who ask for it meanwhile wait."""
        with self._lock:
            turn = self._hashing.setdefault(found.sha256, threading.Lock())
        with turn:
            if self.is_same(found, mtime_ns):
                return True
            known = _verified(found)
            try:
                stat = BlobStat(found.sha256, found.size, mtime_ns)
                fault = damage.fault_of(known, stat, self._store)
            except StoreProblem:
                return False
            if fault is not None:
                self._note(found, fault)
                return False
            self._hashed.add((found.sha256, mtime_ns))
            self._write(lambda connection: damage.mark_checked(connection, known, mtime_ns))
            log.info("a changed file was hashed and is right", sha256=found.sha256)
            return True

    def _note(self, found: Located, fault: BlobFault) -> None:
        self._write(lambda connection: damage.mark_bad(connection, _verified(found), fault, "rack"))

    def _report_unreadable(self, found: Located, problem: StoreProblem) -> None:
        try:
            next(self._store.stats(), None)
        except StoreProblem:
            log.warning("the store can't be read", problem=str(problem))
        else:
            self._note(found, BlobFault.UNREADABLE)

    def _write(self, change: Callable[[Connection], object]) -> None:
        try:
            with self._engine.begin() as connection:
                change(connection)
        except SQLAlchemyError as error:
            log.warning("damage could not be reported", error=str(error))


def _verified(found: Located) -> Verified:
    return Verified(found.sha256, found.size, found.mtime_ns, found.verified_at)
