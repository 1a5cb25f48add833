# SPDX-License-Identifier: Apache-2.0
"""Note which versions machines fetch, so that none is taken away under them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable

import structlog
from sqlalchemy import ColumnElement, Engine, and_, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.models import BootResource, ResourceSet, utcnow
from webapp.services.system import statements

log = structlog.get_logger(__name__)

PERIOD_S = 1.0  # a version that wasn't noted lately is noted after this time
UPDATE_S = 30.0  # and again, while it's fetched, no more often than this


class Fetches:
    """Counts open transfers by version; one thread writes what it sees, and nobody waits.

    The thread starts with the first transfer: threads don't live through a fork.
    """

    def __init__(self, engine: Engine, *, is_threaded: bool = True) -> None:
        self._engine = engine
        self._is_threaded = is_threaded
        self._open: Counter[int] = Counter()
        self._seen: set[int] = set()
        self._written: dict[int, float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, set_id: int) -> None:
        """A machine fetches a file of this version."""
        with self._lock:
            self._open[set_id] += 1
            self._seen.add(set_id)
            if self._thread is None and self._is_threaded:
                self._thread = threading.Thread(target=self._run, name="fetches", daemon=True)
                self._thread.start()

    def end(self, set_id: int) -> None:
        """It has the file, or gave up."""
        with self._lock:
            self._open[set_id] -= 1
            if self._open[set_id] <= 0:
                del self._open[set_id]
            self._seen.add(set_id)

    def flush(self, pause_s: float = 0.0) -> None:
        """Write what's being fetched, or was since the last time; kept if that fails."""
        now = time.monotonic()
        with self._lock:
            due = {
                set_id
                for set_id in self._seen | self._open.keys()
                if now - self._written.get(set_id, -UPDATE_S) >= pause_s
            }
            self._seen -= due
        if not due:
            return
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    update(ResourceSet).where(ResourceSet.id.in_(due)).values(fetched_at=utcnow())
                )
        except SQLAlchemyError as error:
            log.warning("what machines fetch could not be noted yet", error=str(error))
            with self._lock:
                self._seen |= due
            return
        with self._lock:
            recent = {one: at for one, at in self._written.items() if now - at < UPDATE_S}
            self._written = recent | dict.fromkeys(due, now)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(PERIOD_S)
        self.flush()

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            self.flush(UPDATE_S)


def note_folders(folders: Iterable[str]) -> None:
    """Note what machines fetched from racks on other machines. The caller commits.

    folders: below ``/images/``, of current or pinned versions; all kernels of an image count.
    """
    wanted = [_versions_of(folder.split("/")) for folder in set(folders)]
    if found := [one for one in wanted if one is not None]:
        ids = select(ResourceSet.id).join(BootResource, BootResource.id == ResourceSet.resource_id)
        statements.execute(
            update(ResourceSet)
            .where(ResourceSet.id.in_(ids.where(or_(*found))))
            .values(fetched_at=utcnow())
        )


def _versions_of(parts: list[str]) -> ColumnElement[bool] | None:
    """The versions that a folder names; see ``published.image_path``."""
    if len(parts) not in (5, 6):
        return None
    os, arch, _, release, label, *version = parts
    return and_(
        BootResource.os == ("" if os == "custom" else os),
        BootResource.arch == arch,
        BootResource.release == release,
        ResourceSet.label == label,
        ResourceSet.version == version[0]
        if version
        else ResourceSet.id == BootResource.current_set_id,
    )
