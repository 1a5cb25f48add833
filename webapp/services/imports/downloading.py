# SPDX-License-Identifier: Apache-2.0
"""Bring planned blobs into the store, some side by side. No database in here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from webapp.errors import Problem
from webapp.fetch import Fetcher, FetchProblem, Stopped, shown
from webapp.models import TransferState
from webapp.services.blobs import damage
from webapp.services.blobs.damage import Verified
from webapp.services.imports import hashing
from webapp.services.imports.plans import Location, PlannedBlob
from webapp.services.imports.progress import Reporter
from webapp.storage.base import BlobStore, BlobWriter, Check
from webapp.storage.errors import BlobBusy, StoreFull, StoreUnusable
from webapp.streams.urls import join

BUSY_S = 60.0  # how long another writer of the same bytes is waited for
FATAL = (StoreFull, StoreUnusable)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Mirror:
    """How to fetch from one source: its addresses with their fetchers, in the order of trying."""

    routes: Sequence[tuple[str, Fetcher]]

    def close(self) -> None:
        """Close all connections."""
        for _, fetcher in self.routes:
            fetcher.close()


@dataclass(frozen=True)
class Outcome:
    """How one blob went; ``problem`` is None when it is whole. location: of the problem."""

    blob: PlannedBlob
    problem: Problem | None = None
    location: Location | None = None


def download(
    blobs: Iterable[PlannedBlob],
    mirrors: Mapping[int, Mirror],
    store: BlobStore,
    reporter: Reporter,
    threads: int,
) -> Generator[Outcome]:
    """Fetch blobs in their order, ``threads`` at a time, and yield each as it ends.

    After a stop, of all or of their images, the ones that were not finished are not yielded;
    their partials stay (rule: stopped-downloads-stay).
    """
    waiting: queue.SimpleQueue[PlannedBlob] = queue.SimpleQueue()
    ended: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
    for blob in blobs:
        waiting.put(blob)
    crew = [
        threading.Thread(
            target=_work,
            args=(waiting, ended, mirrors, store, reporter),
            name=f"import-{number}",
            daemon=True,
        )
        for number in range(min(threads, waiting.qsize()))
    ]
    for thread in crew:
        thread.start()
    running = len(crew)
    try:
        while running:
            outcome = ended.get()
            if outcome is None:
                running -= 1
            else:
                yield outcome
    except BaseException:
        reporter.abandon()
        raise
    finally:
        for thread in crew:
            thread.join()


def _work(
    waiting: queue.SimpleQueue[PlannedBlob],
    ended: queue.SimpleQueue[Outcome | None],
    mirrors: Mapping[int, Mirror],
    store: BlobStore,
    reporter: Reporter,
) -> None:
    try:
        while not reporter.is_stopped():
            try:
                blob = waiting.get_nowait()
            except queue.Empty:
                return
            outcome = _bring(blob, mirrors, store, reporter)
            if outcome is not None:
                ended.put(outcome)
    finally:
        ended.put(None)


def _bring(
    blob: PlannedBlob, mirrors: Mapping[int, Mirror], store: BlobStore, reporter: Reporter
) -> Outcome | None:
    """One blob from the first place that has it; None when it was stopped."""
    failed: list[tuple[Problem, Location | None]] = []
    try:
        if _is_there(blob, store, reporter):
            reporter.end(blob.sha256, TransferState.DONE)
            return Outcome(blob)
        for location in blob.locations:
            if location.source_id not in mirrors:
                failed.append((_removed(location), None))
                continue
            try:
                _fetch(blob, location, mirrors[location.source_id], store, reporter)
            except (Stopped, *FATAL):
                raise
            except Problem as problem:
                failed.append((problem, location))
            else:
                reporter.end(blob.sha256, TransferState.DONE)
                return Outcome(blob)
    except Stopped:
        reporter.end(blob.sha256, TransferState.STOPPED)
        return None
    except FATAL as problem:
        reporter.fatal = problem
        failed = [(problem, None)]
    except Exception as error:
        log.exception("a download broke", sha256=blob.sha256)
        failed.append((unexpected(error, f"sha256 {blob.sha256}"), None))
    reporter.end(blob.sha256, TransferState.FAILED, failed[0][0])
    # The source that the image belongs to is the one whose problem counts.
    return Outcome(blob, *failed[0])


def _is_there(blob: PlannedBlob, store: BlobStore, reporter: Reporter) -> bool:
    """Whether the store has the bytes already, e.g. from a worker that was killed; verified.

    Raises Stopped.
    """
    found = store.stat(blob.sha256)
    if found is None or found.size != blob.size:
        return False
    reporter.start(blob.sha256, TransferState.VERIFYING)
    known = Verified(blob.sha256, blob.size, None, None)
    return (
        damage.hashed_fault(known, store, hashing.until(lambda: reporter.is_stopped(blob.sha256)))
        is None
    )


def _fetch(
    blob: PlannedBlob, location: Location, mirror: Mirror, store: BlobStore, reporter: Reporter
) -> None:
    """From the first address that brings it whole; the next one resumes what came before."""
    hopeless: set[str] = set()
    problem: FetchProblem | None = None
    for root, fetcher in mirror.routes:
        if root in hopeless:
            continue
        if problem is not None:
            reporter.retry(blob.sha256, problem, 0.0)
        try:
            return _fetch_from(blob, location, (root, fetcher), store, reporter)
        except Stopped:
            raise
        except FetchProblem as found:
            problem = found
            if not problem.is_temporary:
                hopeless.add(root)
    if problem is not None:
        raise problem


def _fetch_from(
    blob: PlannedBlob,
    location: Location,
    route: tuple[str, Fetcher],
    store: BlobStore,
    reporter: Reporter,
) -> None:
    root, fetcher = route
    url = join(root, location.path)
    until = time.monotonic() + BUSY_S

    def open_writer(check: Check) -> BlobWriter:
        writer = store.writer(blob.sha256, blob.size, check)
        reporter.resume(blob.sha256, writer.offset)
        return writer

    while True:
        reporter.wait_while_held(blob.sha256)
        reporter.start(blob.sha256, TransferState.DOWNLOADING, shown(root))
        try:
            fetcher.download(
                url,
                open_writer,
                size=blob.size,
                on_bytes=lambda offset: reporter.at(blob.sha256, offset),
                is_stopped=lambda: reporter.is_interrupted(blob.sha256),
                on_retry=lambda problem, seconds: reporter.retry(blob.sha256, problem, seconds),
                hurry=lambda: reporter.retry_asked,
            )
            return
        except Stopped:
            if reporter.is_stopped(blob.sha256):
                raise
            continue  # the run was held: its partial is continued from where it is
        except BlobBusy:
            # E.g. a worker that was replaced and has not noticed yet.
            if time.monotonic() > until:
                raise
        _pause(0.5, lambda: reporter.is_stopped(blob.sha256))
        if _is_there(blob, store, reporter):
            return


def _pause(seconds: float, is_stopped: Callable[[], bool]) -> None:
    if is_stopped():
        raise Stopped()
    time.sleep(seconds)


def _removed(location: Location) -> Problem:
    return Problem(
        "The boot source of this file was removed during the import.",
        code="source-removed",
        where=location.path,
        next_step="Nothing to do. The next import uses the current sources.",
    )


def unexpected(error: Exception, where: str) -> Problem:
    """A defect of ours, as a problem that users can read."""
    return Problem(
        f"Unexpected error: {type(error).__name__}.",
        code="internal",
        where=where,
        got=str(error)[:500],
        next_step="See the worker log for details.",
    )
