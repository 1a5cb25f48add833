# SPDX-License-Identifier: Apache-2.0
"""What every fuzzed function has to keep: a limit on time, a limit on memory, one answer."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

SECONDS = 2.0  # of processor time, so that a busy machine changes nothing
TRACED = 5  # times as slow, at most, is what runs while its memory is traced
MEMORY = 64 << 20  # bytes
Answer = TypeVar("Answer")


class Hangs(Exception):
    """It took more than its time."""


def guarded(ask: Callable[[], Answer]) -> Answer:
    """Its answer, given twice alike, within the limits."""
    tracemalloc.start()
    try:
        with _alarm(TRACED * SECONDS):
            first = ask()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak >> 20} MiB"
    with _alarm(SECONDS):
        assert ask() == first
    return first


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Hangs

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
