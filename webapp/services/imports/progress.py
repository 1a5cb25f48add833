# SPDX-License-Identifier: Apache-2.0
"""The progress of one run: counted in memory, saved by one thread, twice a second at most.

The same thread renews the lease and hears of a stop. Downloading threads only
count; they never touch the database.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import Problem
from webapp.fetch import Stopped
from webapp.models import TransferState, utcnow
from webapp.services.images.keys import Image
from webapp.services.imports import pausing, runs, stopping

INTERVAL_S = 0.5
HOLD_POLL_S = 0.1
RENEW_S = 5.0  # a quiet run writes only this often
WINDOW_S = 5.0  # over which speed is measured

log = structlog.get_logger(__name__)


class Speed:
    """Bytes a second over the last WINDOW_S seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._received = 0
        self._points: deque[tuple[float, int]] = deque([(clock(), 0)])

    def add(self, count: int) -> None:
        """Count bytes that came."""
        self._received += count

    def measure(self) -> int:
        """The speed now; to be asked regularly."""
        now = self._clock()
        self._points.append((now, self._received))
        while len(self._points) > 2 and self._points[1][0] <= now - WINDOW_S:
            self._points.popleft()
        since, before = self._points[0]
        return int((self._received - before) / (now - since)) if now > since else 0


@dataclass
class Transfer:
    """One file of the run as file_transfer keeps it. ``done`` never falls.

    is_counted: it belongs to the bytes of this run; what was in the store before does not.
    """

    id: int
    sha256: str
    size: int
    done: int = 0
    state: str = TransferState.WAITING
    retries: int = 0
    mirror: str = ""
    cause: str = ""
    next_step: str = ""
    retry_at: datetime | None = None
    is_counted: bool = True
    started_at: datetime | None = None
    finished_at: datetime | None = None
    offset: int = 0  # where the writer is, which may be behind ``done`` after a new start
    speed: Speed = field(default_factory=Speed)
    is_dirty: bool = False

    def as_row(self) -> dict[str, Any]:
        """The columns that change."""
        is_moving = self.state == TransferState.DOWNLOADING
        return {
            "id": self.id,
            "state": str(self.state),
            "bytes_done": self.done,
            "bytes_per_s": self.speed.measure() if is_moving else 0,
            "retries": self.retries,
            "mirror": self.mirror,
            "cause": self.cause,
            "next_step": self.next_step,
            "retry_at": self.retry_at,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
        }


def cause_of(problem: Problem) -> str:
    """What went wrong in one line."""
    return f"{problem.what} Got: {problem.got}." if problem.got else problem.what


class Reporter:
    """Counts, saves and listens while its ``with`` block lasts.

    is_leaving: whether this worker is to end; then the run is handed on, not ended.
    """

    def __init__(
        self,
        app: Flask,
        run_id: int,
        owner: str,
        is_leaving: Callable[[], bool],
        before: runs.RunProgress,
        hold: str = "",
        stopped: Set[Image] = frozenset(),
    ) -> None:
        self.run_id, self.owner = run_id, owner
        self.is_leaving = is_leaving
        self.is_cancelled = False
        self.is_lost = False  # another worker has the run
        self.hold = hold  # why it is paused, "" when it isn't
        self.stopped = stopped  # images that are left out from now on
        self.retry_asked: datetime | None = None  # changes when no retry is to wait any longer
        self.fatal: Problem | None = (
            None  # no other file can succeed either, e.g. the store is full
        )
        self._app = app
        self._lock = threading.Lock()
        self._phase = before.phase
        self._transfers: dict[str, Transfer] = {}
        self._users: Mapping[str, Set[Image]] = {}
        # A resumed run continues from what its first worker reported.
        self._total, self._done = before.bytes_total, before.bytes_done
        self._is_abandoned = False
        self._speed = Speed()
        self._is_dirty = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="import-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def is_stopped(self, sha256: str = "") -> bool:
        """Whether to leave off: stopped by a person, leaving, taken over, or hopeless.

        sha256: of a file, which is also stopped with all the images that want it.
        """
        return (
            self.is_cancelled
            or (bool(sha256) and self._is_unwanted(sha256))
            or self.is_lost
            or self._is_abandoned
            or self.fatal is not None
            or self.is_leaving()
        )

    def is_interrupted(self, sha256: str) -> bool:
        """Whether a download is to leave off, for good or while the run is held."""
        return bool(self.hold) or self.is_stopped(sha256)

    def wait_while_held(self, sha256: str = "") -> None:
        """Return once the run may go on; the file is shown as waiting. Raises Stopped."""
        if self.hold and sha256:
            self.start(sha256, TransferState.WAITING)
        while self.hold:
            if self.is_stopped(sha256):
                raise Stopped()
            time.sleep(HOLD_POLL_S)

    def abandon(self) -> None:
        """Stop the downloads, since their results are no longer used."""
        self._is_abandoned = True

    def enter(self, phase: str) -> None:
        """Name what the run is doing now."""
        with self._lock:
            self._phase, self._is_dirty = phase, True

    def expect(
        self, transfers: Iterable[Transfer], users: Mapping[str, Set[Image]] | None = None
    ) -> None:
        """Tell which files there are, and the images that want them; before the first byte."""
        with self._lock:
            self._transfers = {transfer.sha256: transfer for transfer in transfers}
            self._users = users or {}
            self._leave_out()
            self._is_dirty = True

    def start(self, sha256: str, state: TransferState, mirror: str = "") -> None:
        """A file is being worked on. mirror: where it comes from."""
        with self._lock:
            transfer = self._touch(sha256)
            transfer.state, transfer.mirror = state, mirror or transfer.mirror
            transfer.started_at = transfer.started_at or utcnow()

    def at(self, sha256: str, offset: int) -> None:
        """So many bytes of a file are there; it may have started over."""
        with self._lock:
            transfer = self._touch(sha256)
            came = max(0, offset - transfer.offset)
            transfer.offset, transfer.retry_at = offset, None
            transfer.done = min(transfer.size, max(transfer.done, offset))
            transfer.speed.add(came)
            self._speed.add(came)

    def resume(self, sha256: str, offset: int) -> None:
        """So many bytes of a file were there before: they do not count as speed."""
        with self._lock:
            transfer = self._touch(sha256)
            transfer.offset = offset
            transfer.done = max(transfer.done, min(transfer.size, offset))

    def retry(self, sha256: str, problem: Problem, seconds: float) -> None:
        """Another try of a file begins after so many seconds, because of a problem."""
        with self._lock:
            transfer = self._touch(sha256)
            transfer.retries += 1
            transfer.cause = cause_of(problem)
            transfer.next_step = problem.next_step
            transfer.retry_at = utcnow() + timedelta(seconds=seconds)

    def end(self, sha256: str, state: TransferState, problem: Problem | None = None) -> None:
        """A file is done, failed (for which problem) or stopped."""
        with self._lock:
            transfer = self._touch(sha256)
            transfer.state, transfer.finished_at = state, utcnow()
            transfer.retry_at = None
            if problem is not None:
                transfer.cause, transfer.next_step = cause_of(problem), problem.next_step
            if state == TransferState.DONE:
                transfer.done = transfer.size
                transfer.cause = transfer.next_step = ""

    def snapshot(self, *, is_last: bool = False) -> runs.RunProgress:
        """What to save now; files that did not change since the last time are left out."""
        with self._lock:
            dirty = [t for t in self._transfers.values() if t.is_dirty]
            rows = [transfer.as_row() for transfer in dirty]
            for transfer in dirty:
                # A file that moved is checked again, so that its speed falls when it stalls.
                transfer.is_dirty = transfer.state == TransferState.DOWNLOADING and not is_last
            counted = [t for t in self._transfers.values() if t.is_counted]
            done = sum(t.done for t in counted)
            if counted:  # of what was stopped with its image, no more bytes are to come
                self._total = sum(t.done if self._is_left(t) else t.size for t in counted)
            self._done = min(self._total, max(self._done, done))
            self._is_dirty = False
            return runs.RunProgress(
                phase=self._phase,
                bytes_total=self._total,
                bytes_done=self._done,
                bytes_per_s=0 if self.hold else self._speed.measure(),
                transfers=rows,
            )

    def _touch(self, sha256: str) -> Transfer:
        transfer = self._transfers[sha256]
        transfer.is_dirty = self._is_dirty = True
        return transfer

    def _is_unwanted(self, sha256: str) -> bool:
        users = self._users.get(sha256)
        return users is not None and users <= self.stopped

    def _is_left(self, transfer: Transfer) -> bool:
        return transfer.state == TransferState.STOPPED and self._is_unwanted(transfer.sha256)

    def _leave_out(self) -> None:
        """Files that wait, and that only stopped images want, are stopped."""
        for transfer in self._transfers.values():
            if transfer.state == TransferState.WAITING and self._is_unwanted(transfer.sha256):
                self._touch(transfer.sha256).state = TransferState.STOPPED

    def _listen(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(INTERVAL_S):
            try:
                with self._app.app_context():
                    pausing.follow_windows(self.run_id, self.owner)
                    is_due = time.monotonic() - renewed >= RENEW_S
                    if self._is_moving() or is_due:
                        pulse = runs.heartbeat(self.run_id, self.owner, self.snapshot())
                        renewed = time.monotonic()
                    else:
                        pulse = runs.glance(self.run_id, self.owner)
            except SQLAlchemyError as error:
                # The database may be back in a moment; after the lease it is not ours.
                log.warning("progress could not be saved", run=self.run_id, error=str(error))
                self.is_lost = time.monotonic() - renewed > runs.LEASE_S
                self._touch_all()
                continue
            self.is_lost = not pulse.is_ours
            self._is_dirty = self._is_dirty or pulse.hold != self.hold
            self.hold = pulse.hold
            self.is_cancelled = self.is_cancelled or pulse.is_cancelled
            self.retry_asked = pulse.retry_asked
            stopped = stopping.images_of(pulse.stopped)
            if stopped != self.stopped:
                self.stopped = stopped
                with self._lock:
                    self._leave_out()

    def _touch_all(self) -> None:
        with self._lock:
            for transfer in self._transfers.values():
                transfer.is_dirty = True

    def _is_moving(self) -> bool:
        with self._lock:
            return self._is_dirty or any(t.is_dirty for t in self._transfers.values())
