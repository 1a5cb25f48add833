# SPDX-License-Identifier: Apache-2.0
"""The bytes that a rack keeps: by digest, within its size, the least recently used going first."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress

import structlog

from webapp.storage.base import hash_of
from webapp.storage.errors import StoreProblem
from webapp.storage.files import FileReader
from webapp.storage.filesystem import FilesystemStore

log = structlog.get_logger(__name__)

NOTE_S = 60.0  # a file's last use is noted on the disk no more often than this
PIECE_PAUSE_S = 0.01  # after each file that is verified, for machines' sake


class HeldFile(FileReader):
    """A whole file that a machine reads; it isn't removed until it's closed."""

    on_close: Callable[[], None] = staticmethod(lambda: None)

    def close(self) -> None:
        """Let go of it; harmless when closed already."""
        super().close()
        done, self.on_close = self.on_close, lambda: None
        done()


def proof_of(sha256: str) -> int:
    """The mtime that says that a file's bytes are right: a second of the years to 1978."""
    return int(sha256[:7], 16) * 1_000_000_000


class Holding:
    """Keeps files and knows which of them were used last; threads share it."""

    def __init__(self, store: FilesystemStore) -> None:
        self._store = store
        self._lock, self._hashing = threading.Lock(), threading.Lock()
        self._sizes: dict[str, int] = {}
        self._used: dict[str, float] = {}  # Unix time
        self._noted: dict[str, float] = {}
        self._proved: dict[str, int | None] = {}  # mtime of files hashed since the start
        self._reading: Counter[str] = Counter()
        self.kept: frozenset[str] = frozenset()  # stay whatever the limit
        for found in store.stats():
            self._sizes[found.sha256] = found.size
            self._used[found.sha256] = os.stat(store.path_of(found.sha256)).st_atime

    @property
    def size(self) -> int:
        """Bytes of all whole files."""
        return sum(self._sizes.copy().values())

    @property
    def count(self) -> int:
        """Whole files."""
        return len(self._sizes)

    def has(self, sha256: str) -> bool:
        """Whether the file is here."""
        return sha256 in self._sizes

    def digests(self) -> list[str]:
        """All whole files."""
        return list(self._sizes.copy())

    def open(self, sha256: str, size: int) -> HeldFile | None:
        """A file for a machine; None when it isn't here as it was verified.

        One whose size or time changed is hashed first, and removed if it's wrong.
        """
        with self._lock:
            if sha256 not in self._sizes:
                return None
            self._reading[sha256] += 1
        try:
            reader = HeldFile(self._store.path_of(sha256), sha256)
        except (OSError, StoreProblem) as error:
            self._stop_reading(sha256)
            self.remove(sha256, got=str(error))
            return None
        reader.on_close = lambda: self._stop_reading(sha256)
        is_right = reader.size == size
        if is_right and not self._is_proved(sha256, reader):
            with self._hashing:  # once, for all who ask for it
                is_right = self._is_proved(sha256, reader) or self._is_right(sha256, reader)
        if not is_right:
            reader.close()
            self.remove(sha256, got=f"{reader.size} bytes")
            return None
        self._use(sha256)
        return reader

    def add(self, sha256: str, size: int) -> None:
        """A file is whole and was verified."""
        stat = self._store.stat(sha256)
        self._prove(sha256, stat.mtime_ns if stat else None)
        with self._lock:
            self._sizes[sha256] = size
            self._used[sha256] = time.time()

    def make_room(self, needed: int, limit: int | None, unwanted: Collection[str]) -> int:
        """Remove files until so many bytes fit in a limit; the bytes that are removed.

        unwanted: those that no name means go first. What is being read stays.
        """
        with self._lock:
            over = sum(self._sizes.values()) + needed - limit if limit is not None else 0
            order = sorted(
                (one for one in self._sizes if not self._reading[one] and one not in self.kept),
                key=lambda one: (one not in unwanted, self._used.get(one, 0.0)),
            )
        freed = 0
        for sha256 in order:
            if freed >= over and sha256 not in unwanted:
                break
            freed += self._sizes.get(sha256, 0)
            self._remove(sha256)
        return freed

    def drop_unfinished(self, wanted: Collection[str]) -> None:
        """Remove what was received of files that nobody wants any more."""
        for part in self._store.partials():
            if part.sha256 not in wanted:
                with suppress(StoreProblem):  # e.g. it's whole by now
                    self._store.drop_partial(part.sha256)

    def verify(self, is_stopped: Callable[[], bool]) -> list[str]:
        """Hash every file and remove those that are wrong; their digests."""
        wrong = []
        for sha256 in sorted(self._sizes.copy()):
            if is_stopped():
                break
            try:
                with self._store.open(sha256) as reader:
                    is_right = reader.size == self._sizes.get(sha256) and self._is_right(
                        sha256, reader
                    )
            except (OSError, StoreProblem):
                is_right = False
            if not is_right and self.has(sha256):
                self.remove(sha256, got="other bytes")
                wrong.append(sha256)
            time.sleep(PIECE_PAUSE_S)
        return wrong

    def remove(self, sha256: str, *, got: str) -> None:
        """Remove a file that is damaged; it's fetched again when it's wanted."""
        log.error("a stored file is damaged and was removed", sha256=sha256, got=got)
        self._remove(sha256)

    def _is_proved(self, sha256: str, reader: FileReader) -> bool:
        return reader.mtime_ns in (self._proved.get(sha256), proof_of(sha256))

    def _is_right(self, sha256: str, reader: FileReader) -> bool:
        if hash_of(reader) != sha256:
            return False
        self._prove(sha256, reader.mtime_ns)
        return True

    def _prove(self, sha256: str, mtime_ns: int | None) -> None:
        """Remember that bytes are right; on the disk, too, for the time after a restart.

        Whoever writes to the file changes its time. One with any other time is hashed first.
        """
        self._proved[sha256] = mtime_ns
        path = self._store.path_of(sha256)
        with suppress(OSError):
            stat = os.stat(path)
            if stat.st_mtime_ns == mtime_ns != proof_of(sha256):
                os.utime(path, ns=(stat.st_atime_ns, proof_of(sha256)))

    def _remove(self, sha256: str) -> None:
        with self._lock:
            self._sizes.pop(sha256, None)
            self._proved.pop(sha256, None)
        with suppress(StoreProblem):
            self._store.delete(sha256)

    def _use(self, sha256: str) -> None:
        now = time.time()
        self._used[sha256] = now
        if abs(now - self._noted.get(sha256, 0.0)) > NOTE_S:
            self._noted[sha256] = now
            path = self._store.path_of(sha256)
            with suppress(OSError):  # for the order after a restart, and nothing else
                os.utime(path, ns=(int(now * 1e9), os.stat(path).st_mtime_ns))

    def _stop_reading(self, sha256: str) -> None:
        with self._lock:
            self._reading[sha256] -= 1
            if self._reading[sha256] <= 0:
                del self._reading[sha256]
