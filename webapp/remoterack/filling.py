# SPDX-License-Identifier: Apache-2.0
"""One fetch of each missing file, however many machines ask for it.

Followers send from the file while it grows. Its last part waits until the digest is right,
so no machine ever has a whole file with wrong bytes in it.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from webapp.errors import Problem
from webapp.fetch import FetchProblem
from webapp.remoterack.upstreams import Upstream, Upstreams
from webapp.storage.base import Check
from webapp.storage.files import FileWriter
from webapp.storage.filesystem import FilesystemStore

log = structlog.get_logger(__name__)

PATIENCE_S = 15.0  # without a byte, while machines are in the middle of the file
PAUSE_S = 0.3  # between two rounds of all upstreams
MAX_ROUNDS = 100
FORGET_S = 5.0  # a file that couldn't be fetched isn't tried again for so long
MAX_FILLS = 64
MIN_HELD_BACK = 64 << 10
WAKE_BYTES = 256 << 10  # a follower that waits is woken for so many
WRONG = {"hash-mismatch", "size-mismatch"}


class WrongBytes(OSError):
    """What a machine was sent so far may be wrong: its connection has to be reset."""


@dataclass(frozen=True)
class Wanted:
    """A file to be fetched. path: below an upstream's root, quoted.

    is_restricted: only the region gives it, and only to enrolled racks.
    """

    sha256: str
    size: int
    path: str
    is_restricted: bool = False


class Fill:
    """One file on its way here; filled by one thread, read by any number.

    generation: rises when the file starts over, which makes what went out before worthless.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.generation = 0
        self.received = 0
        self.progress = 0  # bytes that came from upstreams, also those that were worthless
        self.is_flowing = False  # bytes come from an upstream
        self.is_complete = False
        self.problem: Problem | None = None
        self.followers = 0
        self.began = time.monotonic()
        self._handle = -1
        self._changed = threading.Condition()
        self._sleepers: list[tuple[int, Callable[[], None]]] = []

    @property
    def available(self) -> int:
        """Bytes that may go out."""
        size = self.wanted.size
        if self.is_complete:
            return size
        return max(0, min(self.received, size - max(MIN_HELD_BACK, size // 100)))

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self.is_complete or self.problem is not None

    # -- by the thread that fills

    def begin(self, handle: int, received: int) -> None:
        """The file was opened, for the first time or again from its start."""
        with self._changed:
            self._close()
            self._handle, self.received = handle, received
            self.generation += 1
            self._tell(is_all=True)

    def at(self, received: int) -> None:
        """So many bytes are there."""
        with self._changed:
            self.progress += received - self.received
            self.received, self.is_flowing = received, True
            self._tell()

    def stall(self) -> None:
        """No upstream gives a byte at present."""
        self.is_flowing = False

    def end(self, problem: Problem | None) -> None:
        """The file is whole and right, or won't be."""
        with self._changed:
            self.is_complete, self.problem = problem is None, problem
            self._close()
            self._tell(is_all=True)

    # -- by those that read

    def follow(self) -> tuple[int, int] | None:
        """A descriptor of the growing file, the caller's to close, and its generation."""
        with self._changed:
            if self._handle < 0:
                return None
            self.followers += 1
            return os.dup(self._handle), self.generation

    def leave(self, handle: int) -> None:
        """The end of ``follow``."""
        os.close(handle)
        with self._changed:
            self.followers -= 1

    def room(self, generation: int, position: int) -> int:
        """Bytes that may be sent from a position. Raises WrongBytes."""
        if self.problem is not None or generation != self.generation:
            raise WrongBytes("the file is fetched again")
        return max(0, self.available - position)

    def wake_at(self, position: int, wake: Callable[[], None]) -> bool:
        """Call ``wake`` once when more than this is there; False when it is already."""
        with self._changed:
            if self.is_over or self.available > position:
                return False
            last = self.wanted.size - max(MIN_HELD_BACK, self.wanted.size // 100)
            needed = min(position + WAKE_BYTES, last) if last > position else self.wanted.size
            self._sleepers.append((needed, wake))
            return True

    def wait_ready(self, seconds: float) -> None:
        """Wait until a byte may go out or the fill is over, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over or self._is_ready(), seconds)

    def wait_over(self, seconds: float | None = None) -> bool:
        """Wait for the end of the fill; whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_over, seconds)

    def _is_ready(self) -> bool:
        return self.is_flowing and self.available > 0

    def _tell(self, *, is_all: bool = False) -> None:
        self._changed.notify_all()
        sleepers, self._sleepers = self._sleepers, []
        for needed, wake in sleepers:
            if is_all or self.available >= needed:
                wake()
            else:
                self._sleepers.append((needed, wake))

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Fills:
    """Every fill of this process; there is one process, so there is one fetch for a digest.

    is_here: whether a file is held. make_room: for so many bytes. on_bytes: so many came.
    on_done: called for each file that is whole, before anyone is told. on_problem: for each
    upstream that failed.
    """

    def __init__(
        self,
        store: FilesystemStore,
        upstreams: Upstreams,
        *,
        is_here: Callable[[str], bool],
        make_room: Callable[[int], None],
        on_bytes: Callable[[int], None],
        on_done: Callable[[Wanted], None],
        on_problem: Callable[[Problem], None],
    ) -> None:
        self._store = store
        self._upstreams = upstreams
        self._is_here, self._make_room, self._on_bytes = is_here, make_room, on_bytes
        self._on_done, self._on_problem = on_done, on_problem
        self._running: dict[str, Fill] = {}
        self._failed: dict[str, tuple[float, Problem]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def running(self) -> tuple[Fill, ...]:
        """All that are under way."""
        with self._lock:
            return tuple(self._running.values())

    def get(self, wanted: Wanted) -> Fill | Problem:
        """The fill of a file, begun if need be; or why there is none now."""
        with self._lock:
            fill = self._running.get(wanted.sha256)
            if fill is not None:
                return fill
            if self._is_here(wanted.sha256):  # it ended since the caller looked
                fill = Fill(wanted)
                fill.end(None)
                return fill
            failed = self._failed.get(wanted.sha256)
            if failed and time.monotonic() < failed[0]:
                return failed[1]
            if self._stopped.is_set() or len(self._running) >= MAX_FILLS:
                return Problem("Too many files are being fetched at once.", code="rack-busy")
            if not self._upstreams.usable(is_restricted=wanted.is_restricted):
                return none_answers()
            fill = self._running[wanted.sha256] = Fill(wanted)
        name = f"fill {wanted.sha256[:8]}"
        threading.Thread(target=self._run, args=(fill,), name=name, daemon=True).start()
        return fill

    def close(self) -> None:
        """End all fills; what came is kept and continued later."""
        self._stopped.set()
        self._upstreams.close()
        for fill in self.running():
            fill.wait_over(2.0)

    def _run(self, fill: Fill) -> None:
        problem: Problem | None = None
        try:
            self._make_room(fill.wanted.size)
            self._fill(fill)
            self._on_done(fill.wanted)
        except FetchProblem as found:  # was noted with its upstream
            problem = found
        except Problem as found:
            problem = found
            self._on_problem(found)
        except Exception as error:
            log.exception("a file could not be fetched", sha256=fill.wanted.sha256)
            problem = Problem("The file couldn't be fetched.", got=type(error).__name__)
        with self._lock:
            if problem is not None:
                now = time.monotonic()
                self._failed = {key: one for key, one in self._failed.items() if one[0] > now}
                self._failed[fill.wanted.sha256] = (now + FORGET_S, problem)
            del self._running[fill.wanted.sha256]
        fill.end(problem)

    def _fill(self, fill: Fill) -> None:
        """Fetch from one upstream after the other until the file is whole. Raises Problem."""
        quiet_since = time.monotonic()
        problem: Problem | None = None
        for _ in range(MAX_ROUNDS):
            before = fill.progress
            problem = self._round(fill)
            if problem is None:
                return
            fill.stall()
            now = time.monotonic()
            is_quiet = fill.progress == before
            quiet_since = quiet_since if is_quiet else now
            # Machines in the middle of it are worth some patience, e.g. while a region restarts.
            gives_up = is_quiet and (not fill.followers or now - quiet_since > PATIENCE_S)
            if gives_up or problem.code in WRONG or self._stopped.wait(PAUSE_S):
                break
        raise problem or none_answers()

    def _round(self, fill: Fill) -> Problem | None:
        """Try each upstream that answers; None once the file is whole, else the last problem."""
        problem: Problem | None = None
        upstreams = self._upstreams.usable(is_restricted=fill.wanted.is_restricted)
        for upstream in upstreams:
            try:
                self._fetch(fill, upstream, is_last=upstream is upstreams[-1])
            except FetchProblem as found:
                problem = found
                if self._stopped.is_set():
                    return problem
                self._upstreams.note(upstream, found)
                self._on_problem(found)
                log.warning("an upstream failed", **found.as_dict())
            else:
                self._upstreams.note(upstream, None)
                return None
        return problem or none_answers()

    def _fetch(self, fill: Fill, upstream: Upstream, *, is_last: bool) -> None:
        """Fetch what's missing from one upstream. Raises FetchProblem, StoreProblem."""
        wanted = fill.wanted
        at = 0

        def open_writer(check: Check) -> FileWriter:
            nonlocal at
            writer = self._store.writer(wanted.sha256, wanted.size, check)
            at = writer.offset
            with self._store.open_partial(wanted.sha256) as reader:
                if fill.generation == 0 or at < fill.received or at == 0:
                    fill.begin(os.dup(reader.fileno()), at)
            return writer

        def on_bytes(received: int) -> None:
            nonlocal at
            if received > at:
                self._on_bytes(received - at)
                fill.at(received)
            at = received

        def on_retry(problem: FetchProblem, seconds: float) -> None:
            # Another upstream may have the right bytes; with one alone it's a cache's fault.
            self._on_problem(problem)
            if not is_last:
                raise problem

        upstream.fetcher.download(
            upstream.root + wanted.path,
            open_writer,
            size=wanted.size,
            on_bytes=on_bytes,
            on_retry=on_retry,
        )


def none_answers() -> Problem:
    return Problem(
        "No upstream of this rack answers.",
        code="rack-region",
        next_step="Check the network between the rack and its region.",
    )


def became_shorter() -> OSError:
    return OSError(errno.EIO, "the file became shorter while it was sent")


def chunks_of(fill: Fill, generation: int, handle: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of a range as they come, for servers that can't wait without a thread."""
    while start < stop:
        room = min(fill.room(generation, start), stop - start, 1 << 20)
        if not room:
            woken = threading.Event()
            if fill.wake_at(start, woken.set):
                woken.wait()
            continue
        piece = os.pread(handle, room, start)
        if not piece:
            raise became_shorter()
        start += len(piece)
        yield piece
