# SPDX-License-Identifier: Apache-2.0
"""When to try again, and how to wait without becoming deaf to a stop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from webapp.fetch.model import FetchProblem, Limits, Stopped
from webapp.fetch.wire import SLICE_S


def pause_before_retry(problem: FetchProblem, failures: int, limits: Limits) -> float | None:
    """Seconds to wait after so many failures in a row; None to give up."""
    if not problem.is_temporary or failures > limits.retries:
        return None
    # Full jitter, so that many clients of a mirror that fell over do not come back as one.
    most = min(limits.backoff_max_s, limits.backoff_s * 2.0 ** (failures - 1))
    pause = most * random.random()  # noqa: S311 - no secret
    if problem.retry_after is not None:
        pause = max(pause, min(problem.retry_after, limits.retry_after_max_s))
    return pause


def wait(
    seconds: float,
    is_stopped: Callable[[], bool],
    where: str,
    hurry: Callable[[], object] = lambda: None,
) -> None:
    """Sleep in slices until the time is over or what ``hurry`` gives changes. Raises Stopped."""
    before = hurry()
    until = time.monotonic() + seconds
    while True:
        if is_stopped():
            raise Stopped(where)
        rest = until - time.monotonic()
        if rest <= 0 or hurry() != before:
            return
        time.sleep(min(SLICE_S, rest))
