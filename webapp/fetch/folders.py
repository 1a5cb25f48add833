# SPDX-License-Identifier: Apache-2.0
"""``file:`` URLs: files of allowed folders, answered as a server would (rule: folder-sources).

The rest of a fetch doesn't know the difference: resuming, limits, verification and
words for what is missing are those of HTTP.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from webapp.fetch.answers import Answer
from webapp.fetch.model import FetchProblem, Stopped
from webapp.fetch.problems import shown

SCHEME = "file:"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe or a device must not keep us waiting before it's seen to be one.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Raw(Protocol):
    """The bytes of an open file."""

    def readinto(self, view: memoryview, /) -> int | None: ...

    def seek(self, offset: int, /) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class LocalFile:
    """An open file. etag: a strong validator with its quotes."""

    raw: Raw
    size: int
    etag: str


# Opens what a path of a file: URL names; None if there is nothing. Raises FetchProblem.
Find = Callable[[str], LocalFile | None]


def is_file_url(url: str) -> bool:
    """Whether a URL names a file of this server."""
    return url[: len(SCHEME)].lower() == SCHEME


class Folders:
    """The files below the allowed folders; links are followed while they stay below."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots

    def check(self, url: str) -> None:
        """Raise FetchProblem (folder-refused) for a URL that leads out of every root."""
        self._place(_path_of(url))

    def __call__(self, path: str) -> LocalFile | None:
        """See Find."""
        root, names = self._place(path)
        try:
            return _opened(root, names, path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # A link that was put in place since it was resolved isn't followed.
            raise unreadable(shown(f"file://{path}"), error) from error

    def _place(self, path: str) -> tuple[str, list[str]]:
        """The real root and the real names below it."""
        if {".", ".."} & set(path.split("/")) or "\0" in path:
            got, step = "a path with '.', '..' or a NUL", "Enter the path without them."
            raise self._refused(path, got, step)
        try:
            real = os.path.realpath(path)
            for root in map(os.path.realpath, self._roots):
                names = [name for name in os.path.relpath(real, root).split("/") if name != "."]
                if names[:1] != [".."]:
                    return root, names
        except OSError as error:
            raise unreadable(shown(f"file://{path}"), error) from error
        got = f"a link to {real}" if real != path.rstrip("/") else ""
        step = "Add it to SLIPWAY_FILE_SOURCES and restart Slipway, or move it there."
        raise self._refused(path, got, step)

    def _refused(self, path: str, got: str, next_step: str) -> FetchProblem:
        return FetchProblem(
            "This folder isn't allowed as a boot source.",
            code="folder-refused",
            where=shown(f"file://{path}"),
            expected="a folder below " + (" or ".join(map(str, self._roots)) or "an allowed one"),
            got=got,
            next_step=next_step,
        )


def answer(
    find: Find | None,
    url: str,
    method: str,
    headers: Mapping[str, str],
    is_stopped: Callable[[], bool],
) -> Answer:
    """Answer a request for a file as a server would. Raises FetchProblem.

    find: None refuses every file.
    """
    where = shown(url)
    found = (find or Folders(()))(_path_of(url))
    if found is None:
        return _FileAnswer(where, 404, {}, None, is_stopped)
    answered = {"ETag": found.etag, "Accept-Ranges": "bytes"}
    if headers.get("If-None-Match") == found.etag:
        return _FileAnswer(where, 304, answered, found, is_stopped)
    status, start, stop = 200, 0, found.size
    asked = re.fullmatch(r"bytes=([0-9]{1,18})-([0-9]{0,18})", headers.get("Range", ""))
    if asked and headers.get("If-Range", found.etag) == found.etag:
        status, start = 206, int(asked[1])
        stop = min(found.size, int(asked[2]) + 1) if asked[2] else found.size
        answered["Content-Range"] = f"bytes {start}-{stop - 1}/{found.size}"
        if start >= found.size:
            status, start, stop = 416, 0, 0
            answered["Content-Range"] = f"bytes */{found.size}"
    answered["Content-Length"] = str(stop - start)
    found.raw.seek(start)
    return _FileAnswer(where, status, answered, found, is_stopped, method != "HEAD")


class _FileAnswer(Answer):
    def __init__(
        self,
        where: str,
        status: int,
        headers: Mapping[str, str],
        found: LocalFile | None,
        is_stopped: Callable[[], bool],
        has_body: bool = False,
    ) -> None:
        super().__init__(where, status, headers)
        self._found = found
        self._is_stopped = is_stopped
        self._left = (self.length or 0) if has_body else 0

    def readinto(self, view: memoryview) -> int:
        """See Answer."""
        done = 0
        while self._found is not None and self._left and done < len(view):
            if self._is_stopped():
                raise Stopped(self.where)
            try:
                count = self._found.raw.readinto(view[done : done + self._left]) or 0
            except OSError as error:
                raise unreadable(self.where, error) from error
            if not count:
                break
            done, self._left = done + count, self._left - count
        return done

    def finish(self) -> None:
        """See Answer."""

    def close(self) -> None:
        """See Answer."""
        if self._found is not None:
            self._found.raw.close()


def unreadable(where: str, error: OSError) -> FetchProblem:
    """A file or a folder that can't be read, e.g. of a medium that was pulled out."""
    is_kind = error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV)
    return FetchProblem(
        "The file can't be read.",
        code="folder-unreadable",
        where=where,
        expected="a regular file" if is_kind else "a file that this user can read",
        got=error.strerror or type(error).__name__,
        next_step="Check the medium, and that the user of Slipway can read the folder.",
    )


def _path_of(url: str) -> str:
    return unquote(urlsplit(url).path, errors="surrogateescape")


def _opened(root: str, names: Sequence[str], path: str) -> LocalFile:
    """Open a file step by step from its root, so that no link leads out. Raises OSError."""
    *folders, name = names or [""]
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, _FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
        file = os.open(name or ".", _FILE, dir_fd=fd)
    finally:
        os.close(fd)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        os.close(file)
        raise OSError(errno.EISDIR, "not a regular file", path)
    etag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'
    return LocalFile(open(file, "rb", buffering=0), found.st_size, etag)
