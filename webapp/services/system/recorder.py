# SPDX-License-Identifier: Apache-2.0
"""Events that others cause, e.g. machines that fetch: counted in memory, few rows."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, bindparam, insert, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.models import Event, utcnow
from webapp.services.system import traffic
from webapp.services.system.events import FETCHED

log = structlog.get_logger(__name__)

PERIOD_S = 1.0  # a new event is written after this time
UPDATE_S = 30.0  # one that's counted on, no more often than this
WINDOW_S = 600.0  # what equals an event within this time is counted in it
MAX_KEPT = 4_000  # different ones within WINDOW_S, whoever causes them
MAX_FILES = 20  # names in one event

_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Tally:
    """Equal events of one actor, counted together; row_id once it has a row.

    summed: bytes that the day's traffic has already. rack: the one on another machine that
    reported them, "" for the region's own. why: the last one was refused.
    """

    kind: str
    actor: str
    subject: str
    version: str = ""
    status: int = 0  # of the last one
    requests: int = 0
    size: int = 0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    at: datetime = field(default_factory=utcnow)
    began: float = field(default_factory=time.monotonic)
    row_id: int | None = None
    written: int = 0  # requests that the row counts
    written_at: float = 0.0
    summed: int = 0
    rack: str = ""
    why: str = ""

    @property
    def detail(self) -> dict[str, Any]:
        """What the event says about them."""
        detail: dict[str, Any] = {"status": self.status, "requests": self.requests}
        if self.version or self.rack:
            detail |= {"version": self.version, "bytes": self.size, "files": list(self.files)}
            detail["parts"] = [{"file": name, **part} for name, part in self.files.items()]
        more = {"rack": self.rack, "why": self.why}
        return detail | {name: value for name, value in more.items() if value}

    def count(
        self,
        size: int,
        file: str,
        *,
        end_s: float = 0.0,
        took_s: float | None = None,
        missing: int = 0,
    ) -> None:
        """Count one more. end_s: seconds from ``at`` to its end; see ``Recorder.add``."""
        self.requests += 1
        self.size += size
        part = self.files.get(file)
        if part is None:
            if not file or len(self.files) >= MAX_FILES:
                return
            part = self.files[file] = {"bytes": 0, "took_s": 0.0}
        part["bytes"] += size
        part["end_s"] = round(end_s, 3)
        # Time that isn't known of one request isn't known of all.
        known = part["took_s"] is not None and took_s is not None
        part["took_s"] = round(part["took_s"] + took_s, 3) if known else None
        part["missing"] = missing

    def join(self, row_id: int, detail: Mapping[str, Any], later_s: float = 0.0) -> None:
        """Be counted in a row that another process wrote, this many seconds before."""
        self.row_id = row_id
        self.requests += int(detail["requests"])
        self.size += int(detail["bytes"])
        self.summed += int(detail["bytes"])
        known: dict[str, dict[str, Any]] = {name: {} for name in detail["files"]}
        for part in detail.get("parts", ()):
            known[part["file"]] = {name: value for name, value in part.items() if name != "file"}
        for name, part in self.files.items():
            part["end_s"] = round(part.get("end_s", 0.0) + later_s, 3)
            part["bytes"] += known.get(name, {}).get("bytes", 0)
            known[name] = part
        self.files = dict(list(known.items())[:MAX_FILES])


class Recorder:
    """Counts what happens without making anyone wait; one thread writes it.

    However often one actor repeats something, it's one row in WINDOW_S. What
    exceeds MAX_KEPT is only counted. The thread starts with the first event:
    threads don't live through a fork. Without it, whoever adds also calls ``flush_due``.
    """

    def __init__(
        self, write: Callable[[Sequence[Tally]], None], *, is_threaded: bool = True
    ) -> None:
        self.dropped = 0
        self._write = write
        self._is_threaded = is_threaded
        self._kept: dict[_Key, Tally] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(
        self,
        kind: str,
        actor: str,
        subject: str,
        *,
        status: int,
        version: str = "",
        size: int = 0,
        file: str = "",
        took_s: float | None = None,
        missing: int = 0,
        why: str = "",
    ) -> None:
        """Count one. Never blocks on the database.

        took_s: how long it took, if that's known. missing: bytes that the machine asked for
        and didn't get, because it stopped. why: it was refused.
        """
        key = (kind, actor, subject, version)
        with self._lock:
            seen = self._kept.get(key)
            if seen is None or (
                seen.written == seen.requests and time.monotonic() - seen.began > WINDOW_S
            ):
                if len(self._kept) >= MAX_KEPT:
                    self._forget_old()
                if len(self._kept) >= MAX_KEPT:
                    self.dropped += 1
                    return
                seen = self._kept[key] = Tally(kind, actor, subject, version)
                if self._thread is None and self._is_threaded:
                    self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                    self._thread.start()
            end_s = time.monotonic() - seen.began
            seen.count(size, file, end_s=end_s, took_s=took_s, missing=missing)
            seen.status, seen.why = status, why

    def flush(self) -> None:
        """Write all that's new; when that fails it stays for the next time."""
        self._flush(0.0)

    def flush_due(self) -> None:
        """Write what's new at once, and what's counted on after UPDATE_S."""
        self._flush(UPDATE_S)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(PERIOD_S)
        self.flush()

    def _flush(self, pause_s: float) -> None:
        with self._writing:
            now = time.monotonic()
            with self._lock:
                batch = [
                    seen
                    for seen in self._kept.values()
                    if seen.requests > seen.written
                    and (seen.row_id is None or now - seen.written_at >= pause_s)
                ]
                counts = [seen.requests for seen in batch]
                dropped, self.dropped = self.dropped, 0
            if dropped:
                log.warning("events were dropped", dropped=dropped)
            if not batch:
                return
            try:
                self._write(batch)
            except SQLAlchemyError as error:
                log.warning("events could not be written yet", error=str(error))
                return
            with self._lock:
                for seen, count in zip(batch, counts, strict=True):
                    seen.written, seen.written_at = count, now

    def _forget_old(self) -> None:
        since = time.monotonic() - WINDOW_S
        self._kept = {
            key: seen
            for key, seen in self._kept.items()
            if seen.requests > seen.written or seen.began > since
        }

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            self.flush_due()


def write(engine: Engine, tallies: Sequence[Tally]) -> None:
    """Add or update one event for each, in one transaction. Raises SQLAlchemyError."""
    sizes = [seen.size for seen in tallies]  # more may be counted while this is written
    with engine.begin() as connection:
        ids = put(connection, tallies, sizes)
    for seen, row_id, size in zip(tallies, ids, sizes, strict=True):
        seen.row_id, seen.summed = row_id, size


def put(
    connection: Connection, tallies: Sequence[Tally], sizes: Sequence[int] | None = None
) -> list[int]:
    """Add or update one event for each, and the traffic of their days; their ids.

    sizes: bytes of each, that of the tally by default. The caller commits. Raises SQLAlchemyError.
    """
    days: Counter[date] = Counter()
    for seen, size in zip(tallies, sizes or [seen.size for seen in tallies], strict=True):
        if seen.kind == FETCHED:
            days[seen.at.date()] += size - seen.summed
    traffic.add(connection, days)
    fresh = [seen for seen in tallies if seen.row_id is None]
    known = [seen for seen in tallies if seen.row_id is not None]
    ids: Iterator[int] = iter(())
    if fresh:
        rows = [
            {
                "at": seen.at,
                "kind": seen.kind,
                "actor": seen.actor,
                "subject": seen.subject,
                "detail": seen.detail,
            }
            for seen in fresh
        ]
        added = insert(Event).returning(Event.id, sort_by_parameter_order=True)
        ids = iter(connection.scalars(added, rows).all())
    if known:
        connection.execute(
            update(Event).where(Event.id == bindparam("row")).values(detail=bindparam("now")),
            [{"row": seen.row_id, "now": seen.detail} for seen in known],
        )
    return [next(ids) if seen.row_id is None else seen.row_id for seen in tallies]
