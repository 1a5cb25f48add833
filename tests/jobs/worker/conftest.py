# SPDX-License-Identifier: Apache-2.0
"""Workers that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs.worker.workers import WorkerProcess
from tests.support import commands
from tests.support.commands import Running


@pytest.fixture
def start_worker(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start workers on the region's settings; what still runs at the end is killed."""
    started: list[WorkerProcess] = []

    def start(launch: Callable[..., Running] = commands.start) -> WorkerProcess:
        worker = WorkerProcess(environ, tmp_path / "worker.log", launch)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
