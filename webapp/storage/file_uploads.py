# SPDX-License-Identifier: Apache-2.0
"""An upload as a file: like a partial, except that its digest may come last."""

from __future__ import annotations

from webapp.storage.base import Closing
from webapp.storage.errors import too_short, wrong_hash
from webapp.storage.files import GrowingFile
from webapp.storage.layout import Layout
from webapp.storage.running import RunningHash


class FileReceiver(Closing):
    """Append to ``incoming/<token>.part`` under its lock; see base.BlobReceiver."""

    def __init__(self, layout: Layout, token: str, size: int) -> None:
        self.size = size
        self._hash = RunningHash(token)
        self._file = GrowingFile(layout, layout.incoming(token), token, size)
        self._hash.resume(self._file.offset)

    @property
    def offset(self) -> int:
        """Bytes in the file."""
        return self._file.offset

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; one system call and one hash update for each call, no copy."""
        for piece in self._file.append(data):
            self._hash.update(piece)

    def cut(self, offset: int) -> None:
        """Make the file shorter."""
        self._file.demand_open()
        if offset < self.offset:
            self._file.cut(offset)
            self._hash.cut(offset)

    def settle(self) -> None:
        """What was written survives the process already; only the hash has to be kept."""
        self._file.demand_open()
        self._file.start_writing()
        self._hash.settle()

    def digest(self) -> str:
        """Hash what this process did not see."""
        self._file.demand_open()
        return self._hash.hexdigest(self._file.read)

    def adopt(self, sha256: str) -> None:
        """Check, fsync, rename to the blob's name, fsync the folder."""
        self._file.demand_open()
        if self.offset != self.size:
            raise too_short(sha256, self.size, self.offset)
        found = self.digest()
        if found != sha256:
            raise wrong_hash(sha256, found)
        self._file.publish(sha256)
        self._hash.forget()

    def close(self) -> None:
        """Keep what is there and let others write."""
        self._file.close()
