# SPDX-License-Identifier: Apache-2.0
"""A file that holds space for the worst day: on a full disk, users can still sign in and delete.

SQLite can't write a row without room for its journal, not even one that leads to
gigabytes being freed. Whoever changes something on a full disk gives this file up;
the start and upkeep create it again once there's room.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import structlog

from webapp.extensions import settings

SIZE = 16 << 20
FULL = 2 << 20  # less free than this is a full disk

log = structlog.get_logger(__name__)


def keep() -> None:
    """Create the file where it's missing and there's plenty of room. Never fails."""
    path = _path()
    with suppress(OSError):
        if path.exists() or shutil.disk_usage(path.parent).free < 4 * SIZE:
            return
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE)
        fresh.rename(path)


def release_if_full() -> None:
    """Give the file up when nothing else is left. Never fails."""
    path = _path()
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < FULL:
            path.unlink()
            log.warning("the disk is full; its reserve is in use", freed=SIZE)


def _path() -> Path:
    """Beside a SQLite database, whose disk has to have room; otherwise in the data folder."""
    known = settings()
    file = known.database_url.removeprefix("sqlite:///")
    folder = Path(file).parent if file != known.database_url else known.data_dir
    return folder / "reserve"
