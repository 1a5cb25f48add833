# SPDX-License-Identifier: Apache-2.0
"""A byte rate that all downloads of a process share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST_S = 0.25  # how much of the rate may be saved up
SHARE_S = 0.05  # a download gets at least this much at a time, so that it isn't woken for crumbs
SMALLEST = 1 << 10
PAUSE_S = 0.05  # between two tries, so a new rate holds at once


class Bucket:
    """Bytes that downloads may take, refilled at a rate that may change at any moment.

    rate: gives bytes a second, 0 for no limit; called by every download, so it must
    be quick. Over any span, what is taken is at most the rate times the span, plus a
    burst of BURST_S.
    """

    def __init__(
        self, rate: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._clock = rate, clock
        self._lock = threading.Lock()
        self._saved = 0.0
        self._at = clock()

    def take(self, wanted: int) -> int:
        """Take up to this many bytes, at least one; 0 while there are too few to be worth it."""
        rate = self._rate()
        with self._lock:
            now = self._clock()
            passed, self._at = max(0.0, now - self._at), now
            if rate <= 0:
                self._saved = 0.0
                return wanted
            self._saved = min(self._saved + passed * rate, max(rate * BURST_S, SMALLEST))
            if self._saved < min(wanted, max(rate * SHARE_S, SMALLEST)):
                return 0
            count = min(wanted, int(self._saved))
            self._saved -= count
            return count


UNLIMITED = Bucket(lambda: 0)
