# SPDX-License-Identifier: Apache-2.0
"""One blob as a file: how it is written and read."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from webapp.durable import sync_folder
from webapp.storage import writeback
from webapp.storage.base import CHUNK, Check, Closing, checked_range
from webapp.storage.errors import (
    BlobBusy,
    StoreFull,
    StoreProblem,
    free_of,
    problem_of,
    too_long,
    too_short,
)
from webapp.storage.layout import Layout
from webapp.storage.writing import HashingWriter

# Bytes after which a writer checks the free space and lets the disk begin to write.
STRIDE = 8 << 20


class GrowingFile:
    """A file that grows under its lock until a rename makes it a blob.

    name: the digest or token that errors name. found: bytes that were there at first.
    """

    def __init__(self, layout: Layout, path: Path, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.offset = 0
        self.found: int | None = None  # None until we know
        self._layout = layout
        self._path = path
        self._strode = 0  # offset at the last check of the disk
        self._fd = -1
        try:
            self._fd = _locked(path, name, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            found = os.fstat(self._fd).st_size
            if found > size:
                os.ftruncate(self._fd, 0)
                found = 0
            self.found = self.offset = self._strode = found
            self._demand_room(size - found, size - found)
        except OSError as error:
            self.close()
            raise problem_of(error, layout.root, needed=size) from error
        except BaseException:
            self.close()
            raise

    def append(self, data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """Write the bytes, without a copy; yields each part that has been written.

        Raises BlobMismatch before the first byte when they are too many.
        """
        self.demand_open()
        view = memoryview(data).cast("B")
        if len(view) > self.size - self.offset:
            raise too_long(self.name, self.size, self.offset + len(view))
        if self.offset - self._strode >= STRIDE:
            missing = self.size - self.offset
            self._demand_room(min(STRIDE, missing), missing)
            self.start_writing()
        while view:
            try:
                done = os.write(self._fd, view)
            except OSError as error:
                raise self._problem(error) from error
            self.offset += done
            yield view[:done]
            view = view[done:]

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Yield what is there, from ``start``."""
        while start < self.offset:
            try:
                piece = os.pread(self._fd, min(CHUNK, self.offset - start), start)
            except OSError as error:
                raise self._problem(error) from error
            if not piece:
                raise too_short(self.name, self.offset, start)
            yield piece
            start += len(piece)

    def cut(self, offset: int) -> None:
        """Make the file shorter."""
        self.demand_open()
        try:
            os.ftruncate(self._fd, offset)
        except OSError as error:
            raise self._problem(error) from error
        self.offset = self._strode = offset

    def flush(self) -> None:
        """Nothing is held back here: what was written survives the process already."""
        self.demand_open()

    def start_writing(self) -> None:
        """Have the disk begin to write, or all of a large file would wait for the fsync."""
        writeback.begin(self._path, self._strode, self.offset - self._strode)
        self._strode = self.offset

    def publish(self, sha256: str) -> None:
        """Make what was checked durable and visible under its digest, and close.

        After a failed fsync the kernel may have thrown the bytes away and yet
        show them until it forgets: such a partial can't be trusted and goes.
        When only the folder's fsync fails, the whole blob may be visible already.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            self.discard()
            raise problem_of(error, self._layout.root, needed=self.size) from error
        target = self._layout.blob(sha256)
        try:
            self._rename(target)
            self._release()  # the name of the partial is free for others from here on
            sync_folder(target.parent)
        except OSError as error:
            raise self._problem(error) from error

    def close(self) -> None:
        """Keep the partial, unlock; an empty one is worth nothing and goes."""
        if self.found == 0 and self.offset == 0:
            self.discard()
        self._release()

    def discard(self) -> None:
        """Remove the partial while its lock is still held, then unlock."""
        if self._fd >= 0:
            with suppress(OSError):  # a leftover is found by partials() and dropped later
                self._path.unlink()
        self._release()

    def demand_open(self) -> None:
        """Raise ValueError once it is closed."""
        if self._fd < 0:
            raise ValueError("the writer is closed")

    def _demand_room(self, room: int, needed: int) -> None:
        free = free_of(self._layout.root)
        if free is not None and room > free:
            raise StoreFull(str(self._layout.root), needed=needed, free=free)

    def _rename(self, target: Path) -> None:
        try:
            os.rename(self._path, target)
        except FileNotFoundError:
            target.parent.mkdir(mode=0o750, exist_ok=True)
            sync_folder(self._layout.blobs)
            os.rename(self._path, target)

    def _problem(self, error: OSError) -> StoreProblem:
        return problem_of(error, self._layout.root, needed=self.size - self.offset)

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class FileWriter(HashingWriter):
    """Append to ``partial/<digest>.part``: one system call for each call, no copy."""

    def __init__(self, layout: Layout, sha256: str, size: int, check: Check) -> None:
        partial = GrowingFile(layout, layout.partial(sha256), sha256, size)
        super().__init__(sha256, size, partial, check)


class FileReader(Closing):
    """Read a blob's file by position; see base.BlobReader."""

    def __init__(self, path: Path, sha256: str) -> None:
        self._path = path
        self._sha256 = sha256
        self._fd = open_file(path, os.O_RDONLY)
        state = os.fstat(self._fd)
        self.size = state.st_size
        self.mtime_ns: int | None = state.st_mtime_ns
        advise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def fileno(self) -> int:
        """The descriptor; it lives as long as the reader."""
        if self._fd < 0:
            raise ValueError("the reader is closed")
        return self._fd

    def address(self, seconds: int) -> None:
        """There is none."""
        return None

    def chunks(
        self, start: int = 0, stop: int | None = None, chunk: int = CHUNK
    ) -> Iterator[bytes]:
        """Yield a range; see base.BlobReader."""
        start, stop = checked_range(self.size, start, stop, chunk)
        return self._read(start, stop, chunk)

    def _read(self, start: int, stop: int, chunk: int) -> Iterator[bytes]:
        while start < stop:
            try:
                piece = os.pread(self.fileno(), min(chunk, stop - start), start)
            except OSError as error:
                raise problem_of(error, self._path) from error
            if not piece:
                raise too_short(self._sha256, self.size, start)
            yield piece
            start += len(piece)

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def open_file(path: Path, flags: int, mode: int = 0o640) -> int:
    """Open a regular file that is no link; raises OSError for anything else."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "not a regular file", str(path))
    return fd


def advise(fd: int, start: int, length: int, advice: int) -> None:
    """Tell the kernel what comes; some file systems do not listen and nothing depends on it."""
    with suppress(OSError):
        os.posix_fadvise(fd, start, length, advice)


def remove_partial(path: Path, sha256: str) -> None:
    """Remove a partial that has no writer; raises BlobBusy, OSError."""
    try:
        fd = _locked(path, sha256, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        path.unlink()
    finally:
        os.close(fd)


def _locked(path: Path, sha256: str, flags: int) -> int:
    """Open a partial and lock it.

    Between our open and our lock its last holder may have renamed or removed
    it; then the lock is on a file without that name and we try again.
    """
    while True:
        fd = open_file(path, flags)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _has_name(fd, path):
                return fd
        except BlockingIOError:
            os.close(fd)
            raise BlobBusy(sha256) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _has_name(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
