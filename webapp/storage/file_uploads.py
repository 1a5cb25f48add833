# SPDX-License-Identifier: Apache-2.0
"""An upload as a file: the same as a partial, except that its digest comes last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from webapp.storage.base import CHUNK
from webapp.storage.errors import too_short, wrong_hash
from webapp.storage.files import FileWriter
from webapp.storage.layout import Layout
from webapp.storage.running import RunningHash


class FileReceiver(FileWriter):
    """Append to ``incoming/<token>.part`` under its lock; see base.BlobReceiver."""

    _hash: RunningHash

    def __init__(self, layout: Layout, token: str, size: int) -> None:
        self._running = RunningHash(token)
        super().__init__(layout, token, size)

    def cut(self, offset: int) -> None:
        """Make the file shorter."""
        self._demand_open()
        if offset >= self._offset:
            return
        try:
            os.ftruncate(self._fd, offset)
        except OSError as error:
            raise self._problem(error) from error
        self._offset = self._strode = offset
        self._hash.cut(offset)

    def settle(self) -> None:
        """What was written survives the process already; only the hash has to be kept.

        The disk begins to write it, or all of a large file would wait for the fsync.
        """
        self._demand_open()
        self._start_writing()
        self._hash.settle()

    def digest(self) -> str:
        """Hash what this process did not see."""
        self._demand_open()
        return self._hash.hexdigest(self._read_from)

    def adopt(self, sha256: str) -> None:
        """Check, fsync, rename to the blob's name, fsync the folder."""
        self._demand_open()
        if self._offset != self.size:
            raise too_short(sha256, self.size, self._offset)
        found = self.digest()
        if found != sha256:
            raise wrong_hash(sha256, found)
        self._publish(sha256)
        self._hash.forget()

    def _place(self) -> Path:
        return self._layout.incoming(self.sha256)

    def _take_in(self, found: int) -> None:
        self._hash = self._running
        self._hash.resume(found)
        self._offset = found

    def _read_from(self, start: int) -> Iterator[bytes]:
        while start < self._offset:
            try:
                piece = os.pread(self._fd, CHUNK, start)
            except OSError as error:
                raise self._problem(error) from error
            if not piece:
                raise too_short(self.sha256, self._offset, start)
            yield piece
            start += len(piece)
