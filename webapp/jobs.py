# SPDX-License-Identifier: Apache-2.0
"""The worker: woken through a huey queue, told what to do by the table of runs.

A message in the queue says nothing but "look now"; losing one costs at most a
minute, since the worker looks by itself that often.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import structlog
from huey.storage import SqliteStorage

from webapp.config import Settings

log = structlog.get_logger(__name__)


@functools.cache
def _queue(url: str) -> Any:
    """The queue behind an address. huey's storage is used without its task registry,
    so that nothing in it is ever unpickled."""
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStorage("slipway", filename=str(path))


def wake(settings: Settings) -> None:
    """Tell the worker to look now; never fails, since it looks every minute anyway."""
    try:
        _queue(settings.queue_url).enqueue(b"look")
    except Exception:
        log.warning("the worker could not be woken; it looks within a minute", exc_info=True)
