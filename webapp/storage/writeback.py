# SPDX-License-Identifier: Apache-2.0
"""Lets the disk begin to write what was appended, while the next bytes are received.

Without that everything waits for the fsync at the end. Asking costs as long as
the disk takes to accept the bytes, so a thread of its own asks; a disk that
falls behind makes writers wait, or memory would fill with what it has to write.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

MAX_WAITING = 4  # pieces that the disk may be behind

# Its thread starts with the first piece, so nothing runs yet when processes fork.
_thread = ThreadPoolExecutor(1, "writeback")
_room = threading.BoundedSemaphore(MAX_WAITING)


def begin(path: Path, start: int, length: int) -> None:
    """Begin to write a range of a file. Nothing depends on it: fsync is what makes it durable."""
    with suppress(OSError):
        # A descriptor of its own: one that is shared would hold the writer's lock.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        _room.acquire()
        try:
            _thread.submit(_ask, fd, start, length)
        except RuntimeError:  # the process is ending, and starts nothing new
            _ask(fd, start, length)


def finish() -> None:
    """Wait until the disk was asked for everything."""
    _thread.submit(int).result()


def _ask(fd: int, start: int, length: int) -> None:
    try:
        with suppress(OSError):  # some file systems do not listen
            # DONTNEED makes Linux start writing dirty pages without waiting for the end;
            # they stay readable, since only pages that are clean already are dropped.
            os.posix_fadvise(fd, start, length, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
        _room.release()
