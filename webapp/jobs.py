# SPDX-License-Identifier: Apache-2.0
"""The worker: woken through a huey queue, told what to do by the table of runs.

A message in the queue says nothing but "look now"; losing one costs little,
since the worker looks by itself now and then. So of huey only the storage is
used: its consumer would bring signal handlers that kill a running import on
SIGTERM, which supervisors send, and would unpickle what it finds in the queue.
"""

from __future__ import annotations

import functools
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from flask import Flask
from huey.storage import SqliteStorage

from webapp.config import Settings
from webapp.services import importing, runs, sources, upkeep
from webapp.storage.leases import new_owner

POLL_S = 0.25  # how often an embedded queue is asked
LOOK_S = 10.0  # without being woken, e.g. for a run whose worker died elsewhere
TICK_S = 60.0
THOROUGH_S = 3600.0
LEAVE_S = 15.0  # for a run to be handed back

log = structlog.get_logger(__name__)


@functools.cache
def _queue(url: str) -> Any:
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStorage("slipway", filename=str(path))


def wake(settings: Settings) -> None:
    """Tell the worker to look now; never fails, since it looks by itself before long."""
    try:
        _queue(settings.queue_url).enqueue(b"look")
    except Exception:
        log.warning("the worker could not be woken; it looks by itself", exc_info=True)


def run_worker(app: Flask) -> int:
    """Work until SIGTERM or SIGINT; a run that is going on is handed back, resumable."""
    worker = Worker(app)
    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, worker.on_signal)
    return worker.run()


class Worker:
    """Three threads: the main one keeps house, one listens to the queue, one imports."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._settings: Settings = app.extensions["slipway.settings"]
        self._owner = new_owner()
        self._look = threading.Event()
        self._leaving = threading.Event()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Leave at the next safe point."""
        self.leave()

    def leave(self) -> None:
        """End ``run`` soon, from any thread."""
        self._leaving.set()
        self._look.set()

    def run(self) -> int:
        """Work until told to leave; returns the exit code."""
        log.info("worker started", owner=self._owner)
        importer = threading.Thread(target=self._import_runs, name="import", daemon=True)
        listener = threading.Thread(target=self._listen, name="queue", daemon=True)
        self._keep_house("start", is_thorough=True)
        importer.start()
        listener.start()
        checked = time.monotonic()
        while not self._leaving.wait(TICK_S):
            is_thorough = time.monotonic() - checked >= THOROUGH_S
            checked = time.monotonic() if is_thorough else checked
            self._keep_house("schedule", is_thorough=is_thorough)
            self._look.set()
        importer.join(LEAVE_S)
        listener.join(LEAVE_S)
        if importer.is_alive():
            log.warning("the import did not leave in time; the next worker resumes it")
        log.info("worker ended")
        return 0

    def _keep_house(self, trigger: str, *, is_thorough: bool) -> None:
        try:
            with self._app.app_context():
                upkeep.reconcile(trigger, is_thorough=is_thorough)
        except Exception:
            log.exception("house-keeping failed")

    def _listen(self) -> None:
        """Turn messages of the queue into looks."""
        while not self._leaving.is_set():
            try:
                storage = _queue(self._settings.queue_url)
                if storage.dequeue() is not None:
                    self._look.set()
                    continue
                pause = 0.0 if storage.blocking else POLL_S
            except Exception:
                log.warning("the queue cannot be read", exc_info=True)
                pause = LOOK_S
            self._leaving.wait(pause)

    def _import_runs(self) -> None:
        while not self._leaving.is_set():
            self._look.clear()
            try:
                with self._app.app_context():
                    sources.refresh_unread(self._leaving.is_set)
                while self._import_next():
                    continue
            except Exception:
                log.exception("the import could not go on; it is tried again")
            self._look.wait(LOOK_S)

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
        return True
