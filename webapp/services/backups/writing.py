# SPDX-License-Identifier: Apache-2.0
"""Write a backup: a folder or a tar file that exists under its name only once it's complete.

Everything is written to ``.NAME.partial`` beside the target, flushed to the disk, and
renamed as the last step. What a killed process left there is removed by the next backup
with the same target.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tarfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from webapp.durable import sync_folder
from webapp.errors import Problem
from webapp.services.backups import manifest
from webapp.services.backups.manifest import Manifest, Member

_CHUNK = 1 << 20


class MemberDiffers(Exception):
    """The bytes of a member weren't those that were announced; it was taken out again."""


class Writer(ABC):
    """Adds members one by one. scratch: a path for a temporary file."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self.scratch = work / ".scratch"
        self.members: list[Member] = []

    def add(self, name: str, size: int, chunks: Iterable[bytes], sha256: str = "") -> None:
        """Write one member. Raises MemberDiffers, OSError, and what ``chunks`` raises."""
        digest, written = hashlib.sha256(), 0
        with self._member(name, size) as file:
            for chunk in chunks:
                written += len(chunk)
                if written > size:
                    break
                file.write(chunk)
                digest.update(chunk)
            if written != size or (sha256 and digest.hexdigest() != sha256):
                raise MemberDiffers(name)
        self.members.append(Member(name, size, digest.hexdigest()))

    def add_bytes(self, name: str, data: bytes) -> None:
        """Write a small member."""
        self.add(name, len(data), [data])

    def add_scratch(self, name: str) -> None:
        """Make a member of the scratch file, and remove that."""
        with self.scratch.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.add(name, size, iter(lambda: file.read(_CHUNK), b""))
        self.scratch.unlink()

    @abstractmethod
    def finish(self, document: Manifest) -> None:
        """Write the manifest and flush everything to the disk."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""

    @abstractmethod
    def publish(self, target: Path) -> None:
        """Give the backup its name."""

    @abstractmethod
    @contextmanager
    def _member(self, name: str, size: int) -> Iterator[BinaryIO]:
        """A file to write one member to; an exception takes the member out again."""


class _FolderWriter(Writer):
    def close(self) -> None:
        pass  # each member is a file of its own

    def finish(self, document: Manifest) -> None:
        self.add_bytes(manifest.NAME, manifest.render(document))
        for folder, _, _ in os.walk(self._work):
            sync_folder(Path(folder))

    def publish(self, target: Path) -> None:
        os.rename(self._work, target)  # replaces an empty folder, and nothing else

    @contextmanager
    def _member(self, name: str, size: int) -> Iterator[BinaryIO]:
        path = self._work / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            with _created(path) as file:
                yield file
                _sync(file)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


class _TarWriter(Writer):
    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self._path = work / "backup.tar"
        self._file = _created(self._path)

    def finish(self, document: Manifest) -> None:
        self.add_bytes(manifest.NAME, manifest.render(document))
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        _sync(self._file)

    def close(self) -> None:
        with suppress(OSError):  # after a failed write, closing repeats its error
            self._file.close()

    def publish(self, target: Path) -> None:
        os.rename(self._path, target)
        self._work.rmdir()

    @contextmanager
    def _member(self, name: str, size: int) -> Iterator[BinaryIO]:
        start = self._file.tell()
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(time.time())
        try:
            self._file.write(info.tobuf(tarfile.GNU_FORMAT))
            yield self._file
            self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        except (MemberDiffers, Problem):
            self._file.seek(start)
            self._file.truncate()
            raise


@contextmanager
def writing(target: Path) -> Iterator[Writer]:
    """A writer for a target that doesn't exist: a tar file when its name ends in ``.tar``.

    Call its ``finish`` before leaving; leaving publishes the backup. An exception removes
    what was written. Raises Problem in words for a target or a disk that can't be used.
    """
    is_tar = target.suffix == ".tar"
    _refuse_existing(target, is_tar)
    work = target.with_name(f".{target.name}.partial")
    try:
        lock = _locked(work)
        try:
            _empty(work)
            writer = _TarWriter(work) if is_tar else _FolderWriter(work)
            try:
                yield writer
            finally:
                writer.close()
            writer.publish(target)
            sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        finally:
            os.close(lock)
    except OSError as error:
        raise _problem(error, target) from error


def _refuse_existing(target: Path, is_tar: bool) -> None:
    try:
        is_free = not os.path.lexists(target) or (not is_tar and not os.listdir(target))
    except OSError:
        is_free = False
    if not is_free:
        raise Problem(
            "The target of the backup exists.",
            code="backup",
            where=str(target),
            expected="a name that isn't in use" if is_tar else "a new or empty folder",
            next_step="Choose another name, e.g. one with the date in it.",
        )


def _locked(work: Path) -> int:
    work.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Problem(
            "Another backup to the same target is running.",
            code="backup",
            where=str(work),
            next_step="Wait until it has ended, or choose another target.",
        ) from None
    return lock


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _created(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _problem(error: OSError, target: Path) -> Problem:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Problem(
        "There isn't enough space for the backup." if is_full else "The backup can't be written.",
        code="backup",
        where=str(target),
        got=error.strerror or str(error),
        next_step="Free some space, or write it to another disk."
        if is_full
        else "Choose a folder that this user can write to.",
    )
