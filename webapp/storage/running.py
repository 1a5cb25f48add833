# SPDX-License-Identifier: Apache-2.0
"""The sha256 of bytes that come in pieces, one request each, and maybe to several processes.

A process that received all pieces so far continues hashing where it stopped; one that
did not reads what it missed once, at the end. What is remembered is only what
was settled: bytes that are never taken back (see base.BlobReceiver).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

_MAX_SETTLED = 64  # uploads remembered in a process

_lock = threading.Lock()
_settled: OrderedDict[str, tuple[int, hashlib._Hash]] = OrderedDict()


class RunningHash:
    """Hash of one upload. ``length`` bytes are there, the first ``offset`` of them are hashed."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.resume(0)

    def resume(self, length: int) -> None:
        """Start from what was settled here, when so many bytes are there."""
        self.length = length
        with _lock:
            offset, state = _settled.get(self._token, (0, None))
            is_usable = state is not None and offset <= length
            self._offset = offset if is_usable else 0
            self._hash = state.copy() if state and is_usable else hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Count bytes that were appended, and hash them when none before them is missing."""
        if self._offset == self.length:
            self._hash.update(data)
            self._offset += len(data)
        self.length += len(data)

    def cut(self, length: int) -> None:
        """Note that only so many bytes are left."""
        if self._offset > length:
            self.resume(length)
        self.length = length

    def settle(self) -> None:
        """Remember for the next request; nothing of what is there now will change."""
        with _lock:
            _settled[self._token] = (self._offset, self._hash.copy())
            _settled.move_to_end(self._token)
            while len(_settled) > _MAX_SETTLED:
                _settled.popitem(last=False)

    def hexdigest(self, read_from: Callable[[int], Iterable[bytes]]) -> str:
        """The sha256 of everything; ``read_from(offset)`` gives what was not seen here."""
        if self._offset < self.length:
            for piece in read_from(self._offset):
                self._hash.update(piece)
                self._offset += len(piece)
        return self._hash.hexdigest()

    def forget(self) -> None:
        """The upload is over."""
        with _lock:
            _settled.pop(self._token, None)
