# SPDX-License-Identifier: Apache-2.0
"""Real worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from tests.support.commands import Running, start
from webapp.extensions import db, store
from webapp.models import (
    ImportRun,
)

DOCUMENTS = 32 << 10  # bytes of an import's documents, read once more after a kill
PATIENCE_S = 120.0  # a bound for what hangs


def wait_for(what: Callable[[], object]) -> None:
    """Return once it is so; each look sees what others have committed."""
    until = time.monotonic() + PATIENCE_S
    while not what():
        db.session.rollback()
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)
    db.session.rollback()


def kept() -> int:
    """The bytes that the store has, of whole files and of parts."""
    whole = sum(blob.size for blob in store().stats())
    return whole + sum(part.received for part in store().partials())


def run_now(run_id: int) -> ImportRun:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(ImportRun, run_id)


class WorkerProcess:
    """A real ``slipway worker``."""

    def __init__(
        self, environ: dict[str, str], log: Path, launch: Callable[..., Running] = start
    ) -> None:
        self.log = log
        values = {**os.environ, **environ}
        self.process = launch(["worker"], values, log, death=signal.SIGKILL)

    def kill(self) -> None:
        """End it as an out-of-memory killer does."""
        self.process.kill()
        self.process.wait()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def is_loading(run_id: int, least: int) -> Callable[[], bool]:
    return lambda: (
        (db.session.scalar(select(ImportRun.bytes_done).where(ImportRun.id == run_id)) or 0)
        >= least
    )


def is_ended(run_id: int) -> Callable[[], bool]:
    return lambda: run_now(run_id).finished_at is not None
