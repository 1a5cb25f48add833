# SPDX-License-Identifier: Apache-2.0
"""How far a pull is, as several threads report it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from webapp.mirror.model import PullProgress, WantedFile


class Tracker:
    """Counts files and bytes and reports each step, one at a time."""

    def __init__(self, on_progress: Callable[[PullProgress], None] | None) -> None:
        self._on_progress = on_progress or (lambda progress: None)
        self._lock = threading.Lock()
        self._offsets: dict[str, int] = {}
        self._files_done = 0
        self._bytes_done = 0
        self.files_total = 0
        self.bytes_total = 0
        self.bytes_received = 0

    def file(self, file: WantedFile) -> None:
        """One more file is in its place."""
        with self._lock:
            self._files_done += 1
            self._report(file.path)

    def begin(self, file: WantedFile, offset: int) -> None:
        """A download begins at this offset; what is there did not come now."""
        with self._lock:
            self._offsets[file.sha256] = offset

    def at(self, file: WantedFile, offset: int) -> None:
        """So many bytes of a file are there."""
        with self._lock:
            self.bytes_received += max(0, offset - self._offsets[file.sha256])
            self._offsets[file.sha256] = offset
            # A file that starts over does not make the whole go back.
            self._bytes_done = max(self._bytes_done, sum(self._offsets.values()))
            self._report(file.path)

    def _report(self, path: str) -> None:
        self._on_progress(
            PullProgress(
                self._files_done, self.files_total, self._bytes_done, self.bytes_total, path
            )
        )
