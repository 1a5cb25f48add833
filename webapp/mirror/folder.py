# SPDX-License-Identifier: Apache-2.0
"""The folder of a mirror. Links in it are never followed, files are replaced whole.

Everything is reached step by step from the folder's descriptor, so a link that
somebody put into the tree can lead neither reading nor writing out of it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from webapp.mirror.model import MirrorProblem
from webapp.mirror.planning import STATE_FOLDER

CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class FileStat:
    """What identifies a file that was not changed since it was hashed."""

    size: int
    mtime_ns: int


class MirrorFolder:
    """An open mirror folder; a context manager. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.reporting():
            # The folder itself may well be a link: an administrator named it.
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)

    @property
    def state(self) -> Path:
        """Our own folder in it."""
        return self.path / STATE_FOLDER

    def claim(self, *, create: bool) -> None:
        """Make sure that this folder is, or may become, a mirror; ``create`` makes it one.

        Raises MirrorProblem (mirror-foreign) for one that holds other things.
        """
        with self.reporting():
            names = set(os.listdir(self._fd))
            # What another tool mirrored has its documents there; files are checked anyway.
            if names and not names & {STATE_FOLDER, "streams"}:
                raise MirrorProblem(
                    "The folder contains something other than a mirror.",
                    code="mirror-foreign",
                    where=str(self.path),
                    expected="a new or empty folder, or one with an earlier mirror",
                    got=", ".join(ascii(name)[1:-1] for name in sorted(names)[:3]),
                    next_step="Choose another folder.",
                )
            if create and STATE_FOLDER not in names:
                os.mkdir(STATE_FOLDER, 0o700, dir_fd=self._fd)
                os.fsync(self._fd)
            if create or STATE_FOLDER in names:
                os.close(os.open(STATE_FOLDER, _FOLDER, dir_fd=self._fd))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second pull out while the block runs. Raises MirrorProblem (mirror-busy)."""
        with self.reporting():
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self.state / "lock", flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise MirrorProblem(
                "Another pull into this folder is running.",
                code="mirror-busy",
                where=str(self.path),
                next_step="Wait until it ends.",
            ) from None
        try:
            for leftover in self.state.glob("new-*"):  # of a pull that was killed
                leftover.unlink()
            yield
        finally:
            os.close(fd)

    def stat(self, path: str) -> FileStat | None:
        """Stat a regular file; None when there is none.

        Raises MirrorProblem (mirror-folder) when a link or folder is in its place.
        """
        with self.reporting(path):
            try:
                with self._parent(path) as (parent, name):
                    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(found.st_mode):
                raise MirrorProblem(
                    "Something else is in the way of a mirror file.",
                    code="mirror-folder",
                    where=str(self.path / path),
                    expected="a regular file",
                    got="a link" if stat.S_ISLNK(found.st_mode) else "a folder or device",
                    next_step="Move it away and pull again.",
                )
            return FileStat(found.st_size, found.st_mtime_ns)

    def sha256(self, path: str) -> str:
        """Hash a file."""
        found = hashlib.sha256()
        with self.reporting(path), self._parent(path) as (parent, name):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            buffer = memoryview(bytearray(CHUNK))
            with open(fd, "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    found.update(buffer[:count])
        return found.hexdigest()

    def write(self, path: str, content: bytes) -> FileStat:
        """Put a small file in its place, whole or not at all."""
        with self.reporting(path):
            temporary = self._temporary()
            try:
                with open(temporary, "xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                return self._move(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def place(self, source: Path, path: str) -> FileStat:
        """Give a complete, durable file of ours a second name in the tree.

        The two share their bytes where the file system can do that.
        """
        with self.reporting(path):
            temporary = self._temporary()
            try:
                try:
                    os.link(source, temporary, follow_symlinks=False)
                except OSError as error:
                    if error.errno in _FULL:
                        raise
                    shutil.copyfile(source, temporary, follow_symlinks=False)
                    with open(temporary, "rb") as copied:
                        os.fsync(copied.fileno())
                return self._move(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def place_again(self, existing: str, path: str) -> FileStat:
        """Give a file of the tree a second path."""
        self.stat(existing)  # refuses links
        return self.place(self.path / existing, path)

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        with self.reporting(path):
            with self._parent(path) as (parent, name):
                os.unlink(name, dir_fd=parent)
            while "/" in path:
                path = path.rpartition("/")[0]
                try:
                    with self._parent(path) as (parent, name):
                        os.rmdir(name, dir_fd=parent)
                except OSError:
                    return

    def free_bytes(self) -> int:
        """What the file system still gives to an ordinary user."""
        with self.reporting():
            state = os.fstatvfs(self._fd)
        return state.f_bavail * state.f_frsize

    def _temporary(self) -> Path:
        return self.state / f"new-{secrets.token_hex(8)}"

    def _move(self, temporary: Path, path: str) -> FileStat:
        os.chmod(temporary, 0o644)  # for the web server that serves the tree
        with self._parent(path, create=True) as (parent, name):
            os.rename(temporary, name, dst_dir_fd=parent)
            os.fsync(parent)
            moved = os.stat(name, dir_fd=parent, follow_symlinks=False)
        return FileStat(moved.st_size, moved.st_mtime_ns)

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder of a path and the last name."""
        *folders, name = path.split("/")
        fd = os.dup(self._fd)
        try:
            for folder in folders:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(folder, 0o755, dir_fd=fd)
                        os.fsync(fd)
                inner = os.open(folder, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd, name
        finally:
            os.close(fd)

    @contextmanager
    def reporting(self, path: str = "") -> Iterator[None]:
        """Turn an error of the operating system into a MirrorProblem."""
        try:
            yield
        except OSError as error:
            where = str(self.path / path)
            if error.errno in _FULL:
                raise full(where, needed=None, free=None) from error
            is_link = error.errno in (errno.ELOOP, errno.ENOTDIR)
            raise MirrorProblem(
                "The mirror's folder can't be used.",
                code="mirror-folder",
                where=where,
                expected="folders and files, and no links" if is_link else "read and write access",
                got=error.strerror or str(error),
                next_step="Move what is in the way and pull again."
                if is_link
                else "Check the folder, its owner and its disk.",
            ) from error


def full(where: str, *, needed: int | None, free: int | None) -> MirrorProblem:
    """There is no room for the mirror."""
    return MirrorProblem(
        "Not enough disk space for the mirror.",
        code="mirror-full",
        where=where,
        expected="more free space" if needed is None else f"{needed} bytes",
        got="none left" if free is None else f"{free} bytes free",
        next_step="Free up space, or pull less with --filter and --max. The next pull resumes.",
    )
