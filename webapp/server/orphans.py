# SPDX-License-Identifier: Apache-2.0
"""One rack with nginx for each data folder, and an end to what a killed one left behind.

A lock on a file says that a rack runs. nginx inherits the file, so workers whose master was
killed keep the lock, and the port, and are found by it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import structlog

from webapp.errors import Problem

log = structlog.get_logger(__name__)

LOCK = "nginx.lock"  # in the data folder
WAIT_S = 5.0  # for processes that were killed
LOOK_S = 0.05


class RackRuns(Problem):
    """Another rack with nginx has this data folder."""

    code = "runs-already"


def hold(data_dir: Path) -> BinaryIO:
    """Lock the data folder for a rack with nginx, until the file is closed. Raises RackRuns."""
    file = (data_dir / LOCK).open("ab")
    until = time.monotonic() + WAIT_S
    while not _is_locked(file):
        if not _end_orphans(file) or time.monotonic() > until:
            file.close()
            raise RackRuns(
                "Another rack with nginx already serves machines from this data folder.",
                where=str(data_dir),
                next_step="Stop it, or set SLIPWAY_DATA_DIR to another folder.",
            )
        time.sleep(LOOK_S)
    return file


def end(data_dir: Path) -> None:
    """End what a rack left on the port when all that looks after it was killed."""
    if (data_dir / LOCK).exists():
        with suppress(RackRuns, OSError):  # then whoever needs the port says so
            hold(data_dir).close()


def _is_locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_orphans(file: BinaryIO) -> bool:
    """Kill every nginx that has the file; False when another program has it: a rack that runs."""
    found = dict(_holders(os.fstat(file.fileno())))
    if any(name != "nginx" for name in found.values()):
        return False
    for pid in found:
        log.warning("an nginx that a killed rack left behind is ended", pid=pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return True


def _holders(state: os.stat_result) -> Iterator[tuple[int, str]]:
    """The other processes that have a file open, with the names of their programs."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        with suppress(OSError):  # it ended, or belongs to someone else
            if pid != os.getpid() and any(_is(one, state) for one in (folder / "fd").iterdir()):
                yield pid, (folder / "comm").read_text().strip()


def _is(path: Path, state: os.stat_result) -> bool:
    with suppress(OSError):
        found = path.stat()
        return (found.st_dev, found.st_ino) == (state.st_dev, state.st_ino)
    return False
