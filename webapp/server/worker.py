# SPDX-License-Identifier: Apache-2.0
"""The worker: a huey queue wakes it, and the table of runs lists its work.

A message in the queue only means "check now". Losing one costs little, since the
worker also checks regularly by itself. So only huey's storage is
used: its consumer would bring signal handlers that kill a running import on
SIGTERM, which supervisors send, and would unpickle what is in the queue.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import structlog
from flask import Flask

from webapp import database
from webapp.config import Settings
from webapp.extensions import db
from webapp.server.memory import spare_collector
from webapp.services.blobs import scrubbing
from webapp.services.boot import loaders
from webapp.services.imports import importing, runs
from webapp.services.mirror import codesigning, publishing
from webapp.services.overview import health, upkeep
from webapp.services.sources import refreshing
from webapp.services.system.wake import wake_queue
from webapp.services.uploads import work as upload_work
from webapp.storage.leases import new_owner

POLL_S = 0.25  # how often an embedded queue is asked
RECHECK_S = 10.0  # without being woken, e.g. for a run whose worker died elsewhere
TICK_S = 60.0
THOROUGH_S = 3600.0
LEAVE_S = 15.0  # for a run to be handed back
STOPPING = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


def run_worker(app: Flask) -> int:
    """Work until SIGTERM or SIGINT; a running import is handed back, resumable."""
    spare_collector()
    worker = Worker(app)
    if threading.current_thread() is threading.main_thread():
        worker.heed_signals()
    try:
        return worker.run()
    finally:
        _close_databases(app)


def _close_databases(app: Flask) -> None:
    settings: Settings = app.extensions["slipway.settings"]
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    wake_queue(settings.queue_url).close()
    database.fold_journals(settings.database_url, settings.queue_url)


class StopRequests:
    """What the main thread waits for; threads and signals end the wait.

    Python's signal handlers run once the main thread executes Python code again. For a
    signal that comes just before the thread starts to wait, or to another thread, that's
    after the wait. The signal itself writes to the pipe, so none is missed.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, _close, self._reader, self._writer)

    def heed_signals(self) -> None:
        """Let SIGTERM and SIGINT of this process be requests; for the main thread."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, _continue)

    def put(self) -> None:
        """Ask to stop; for any thread."""
        with suppress(BlockingIOError):  # full of requests already
            os.write(self._writer, b"\0")

    def wait(self, patience_s: float) -> bool:
        """Whether someone asked to stop, now or within this time."""
        poll = select.poll()  # select() knows the first 1,024 files only
        poll.register(self._reader, select.POLLIN)
        if not poll.poll(1000 * patience_s):
            return False
        return any(number in (0, *STOPPING) for number in os.read(self._reader, 1 << 16))


def _close(*files: int) -> None:
    for file in files:
        os.close(file)


def _continue(number: int, frame: FrameType | None) -> None:
    """The signal has written to the pipe."""


class Worker:
    """The main thread runs the upkeep; others listen to the queue, read
    new sources, import, and finish uploads."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._settings: Settings = app.extensions["slipway.settings"]
        self._owner = new_owner()
        self._stop_requests = StopRequests()
        self._leaving = threading.Event()
        parts = ("import", "mirror", "read", "scrub", "uploads")
        self._due = {name: threading.Event() for name in parts}

    def heed_signals(self) -> None:
        """Leave at the next safe point after SIGTERM or SIGINT."""
        self._stop_requests.heed_signals()

    def leave(self) -> None:
        """End ``run`` soon; for any thread."""
        self._stop_requests.put()

    def run(self) -> int:
        """Work until asked to stop; returns the exit code."""
        log.info("worker started", owner=self._owner)
        self._run_upkeep("start", is_thorough=True)
        threads = [
            threading.Thread(target=self._listen, name="queue", daemon=True),
            threading.Thread(target=self._repeat, args=("read", self._read), daemon=True),
            threading.Thread(target=self._repeat, args=("import", self._import), daemon=True),
            threading.Thread(target=self._repeat, args=("uploads", self._uploads), daemon=True),
            threading.Thread(target=self._repeat, args=("scrub", self._scrub), daemon=True),
            threading.Thread(target=self._repeat, args=("mirror", self._mirror), daemon=True),
        ]
        for thread in threads:
            thread.start()
        checked = time.monotonic()
        while not self._stop_requests.wait(TICK_S):
            is_thorough = time.monotonic() - checked >= THOROUGH_S
            checked = time.monotonic() if is_thorough else checked
            self._run_upkeep("schedule", is_thorough=is_thorough)
            self._wake_all()
        self._leaving.set()
        self._wake_all()
        until = time.monotonic() + LEAVE_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            log.warning("not everything ended in time; the next worker continues it")
        log.info("worker ended")
        return 0

    def _wake_all(self) -> None:
        for event in self._due.values():
            event.set()

    def _run_upkeep(self, trigger: str, *, is_thorough: bool) -> None:
        try:
            with self._app.app_context():
                health.note_worker()
                upkeep.reconcile(trigger, is_thorough=is_thorough)
        except Exception:
            log.exception("upkeep failed")

    def _listen(self) -> None:
        """Wake all threads for each message in the queue."""
        while not self._leaving.is_set():
            try:
                storage = wake_queue(self._settings.queue_url)
                if storage.dequeue() is not None:
                    self._wake_all()
                    continue
                pause = 0.0 if storage.blocking else POLL_S
            except Exception:
                log.warning("the queue cannot be read", exc_info=True)
                pause = RECHECK_S
            self._leaving.wait(pause)

    def _repeat(self, what: str, work: Callable[[], None]) -> None:
        """Do a piece of work now, whenever woken, and regularly."""
        while True:
            self._due[what].clear()
            if self._leaving.is_set():  # after clearing: who leaves sets this first, then wakes
                return
            try:
                work()
            except Exception:
                log.exception("the work failed and will be tried again", work=what)
            self._due[what].wait(RECHECK_S)

    def _read(self) -> None:
        """Read new sources, even during an import: users wait to see what they offer."""
        with self._app.app_context():
            refreshing.refresh_unread(self._leaving.is_set)

    def _uploads(self) -> None:
        """Inspect uploads and turn them into images, even during an import."""
        with self._app.app_context():
            upload_work.work(self._owner, self._leaving.is_set)
        self._due["mirror"].set()

    def _scrub(self) -> None:
        """Reread stored bytes that were last checked long ago."""
        with self._app.app_context():
            scrubbing.work(self._leaving.is_set)

    def _mirror(self) -> None:
        """Sign what is published and serve it as a stream, even during an import."""
        with self._app.app_context():
            loaders.reconcile()
            publishing.reconcile()
            codesigning.reconcile()

    def _import(self) -> None:
        while self._import_next():
            continue

    def _import_next(self) -> bool:
        """Claim a run and work on it; False when there is none."""
        if self._leaving.is_set():
            return False
        with self._app.app_context():
            run = runs.claim(self._owner)
            if run is None:
                return False
            log.info("run claimed", run=run.id, trigger=run.trigger)
            importing.execute(run.id, self._owner, self._leaving.is_set)
        self._due["mirror"].set()
        return True
