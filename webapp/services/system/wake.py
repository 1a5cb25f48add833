# SPDX-License-Identifier: Apache-2.0
"""Wake the worker after a commit that gives it something to do.

A message in the queue says only "check now". Losing one costs little, because the
worker also checks by itself every few seconds.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import structlog
from huey.storage import SqliteStorage

from webapp.database import make_private
from webapp.extensions import settings

log = structlog.get_logger(__name__)


@functools.cache
def wake_queue(url: str) -> Any:
    """The storage of the wake-up queue at this URL, created when it is missing."""
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    make_private(path)
    return SqliteStorage("slipway", filename=str(path))


def wake() -> None:
    """Have the worker check for work now; never fails."""
    try:
        wake_queue(settings().queue_url).enqueue(b"wake")
    except Exception:
        log.warning("the worker could not be woken; it polls for work", exc_info=True)
