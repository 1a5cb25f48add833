# SPDX-License-Identifier: Apache-2.0
"""How the threads of one process are shared among those who ask. Pure."""

from __future__ import annotations

from collections import Counter

STREAM_SHARE = 3 / 4  # of the threads that requests with streamed bodies may hold


class Shares:
    """Counts the threads that each sender holds.

    threads: all there are. share: of one sender, who needs some for pages while he streams.
    """

    def __init__(self, threads: int, share: int) -> None:
        self._threads = threads
        self._share = share
        self._streams = max(1, int(threads * STREAM_SHARE))
        self._running: Counter[str] = Counter()
        self._streaming: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether no thread is free."""
        return self._running.total() >= self._threads

    def has_one_for(self, sender: str, *, is_streamed: bool) -> bool:
        """Whether this sender may have one more."""
        if self._running[sender] >= self._share:
            return False
        if not is_streamed:
            return True
        if self._streaming[sender] >= max(1, self._share // 2):
            return False  # its own pages need threads, too
        return self._streaming.total() < self._streams

    def take(self, sender: str, *, is_streamed: bool) -> None:
        """One more is held."""
        self._running[sender] += 1
        self._streaming[sender] += is_streamed

    def give_back(self, sender: str, *, is_streamed: bool) -> None:
        """One is free again."""
        self._running[sender] -= 1
        self._streaming[sender] -= is_streamed
        for counter in (self._running, self._streaming):
            if not counter[sender]:
                del counter[sender]
