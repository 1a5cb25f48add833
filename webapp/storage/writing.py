# SPDX-License-Identifier: Apache-2.0
"""Fill one blob: hash what is appended, check it, publish it. The same for files and rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

from webapp.storage.base import Check, Closing
from webapp.storage.errors import too_short, wrong_hash


class Growing(Protocol):
    """Bytes that grow under a lock or lease, until they are published as a blob."""

    @property
    def offset(self) -> int:
        """Bytes that are there."""
        ...

    def append(self, data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """Store the bytes; yields each part that was accepted. Raises BlobMismatch."""
        ...

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Yield what is there, from ``start``."""
        ...

    def flush(self) -> None:
        """Store what is held back."""
        ...

    def demand_open(self) -> None:
        """Raise ValueError once it is closed."""
        ...

    def publish(self, sha256: str) -> None:
        """Make what was checked durable and visible under its digest, and close."""
        ...

    def close(self) -> None:
        """Keep what is there and let others write."""
        ...

    def discard(self) -> None:
        """Remove what is there, and let others write."""
        ...


class HashingWriter(Closing):
    """Append to a partial, hashing as bytes arrive; see base.BlobWriter."""

    def __init__(self, sha256: str, size: int, partial: Growing, check: Check) -> None:
        self.sha256 = sha256
        self.size = size
        self._partial = partial
        self._hash = hashlib.sha256()
        try:
            for piece in partial.read():
                check()
                self._hash.update(piece)
        except BaseException:
            self.close()
            raise

    @property
    def offset(self) -> int:
        """Bytes that are there, all of them hashed."""
        return self._partial.offset

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes, hashing each part once it is accepted."""
        for piece in self._partial.append(data):
            self._hash.update(piece)

    def flush(self) -> None:
        """Store what is held back, so that it survives the process."""
        self._partial.flush()

    def commit(self) -> None:
        """Check size and hash, then publish."""
        self._partial.demand_open()
        if self.offset != self.size:
            raise too_short(self.sha256, self.size, self.offset)
        found = self._hash.hexdigest()
        if found != self.sha256:
            self.discard()
            raise wrong_hash(self.sha256, found)
        self._partial.flush()
        self._partial.publish(self.sha256)

    def close(self) -> None:
        """Keep the partial and let others write."""
        self._partial.close()

    def discard(self) -> None:
        """Drop the partial."""
        self._partial.discard()
