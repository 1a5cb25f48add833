# SPDX-License-Identifier: Apache-2.0
"""What machines fetched, counted in memory and written once a second by one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from webapp.services.images.serving import Fetches

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
MAX_KEPT = 10_000  # different fetches within a period (or while the database is away)

_Key = tuple[str, str, str, str, int]


class Recorder:
    """Records fetches without making clients wait.

    Equal answers to the same machine within a period become one event with
    their number and bytes, so that neither a client that reads in small ranges
    nor a flood fills the database. What exceeds the bound is only counted.
    The thread starts with the first fetch: threads do not live through a fork.
    """

    def __init__(self, write: Callable[[Iterable[Fetches]], None]) -> None:
        self.dropped = 0
        self._write = write
        self._kept: dict[_Key, Fetches] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, kind: str, actor: str, path: str, version: str, status: int, size: int) -> None:
        """Count one answer. Never blocks on the database."""
        key = (kind, actor, path, version, status)
        with self._lock:
            seen = self._kept.get(key)
            if seen is None:
                if len(self._kept) >= MAX_KEPT:
                    self.dropped += 1
                    return
                seen = self._kept[key] = Fetches(kind, actor, path, version, status)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                    self._thread.start()
            seen.requests += 1
            seen.size += size

    def flush(self) -> None:
        """Write what is kept; when that fails it stays kept for the next time."""
        with self._writing:
            with self._lock:
                batch, self._kept = self._kept, {}
                dropped, self.dropped = self.dropped, 0
            if dropped:
                log.warning("events of fetches were dropped", dropped=dropped)
            if not batch:
                return
            try:
                self._write(batch.values())
            except SQLAlchemyError as error:
                log.warning("events could not be written yet", error=str(error))
                self._keep_again(batch)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(PERIOD_S)
        self.flush()

    def _keep_again(self, batch: dict[_Key, Fetches]) -> None:
        with self._lock:
            for key, seen in self._kept.items():
                earlier = batch.get(key)
                if earlier is not None:
                    earlier.requests += seen.requests
                    earlier.size += seen.size
                elif len(batch) < MAX_KEPT:
                    batch[key] = seen
                else:
                    self.dropped += seen.requests
            self._kept = batch

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            self.flush()
