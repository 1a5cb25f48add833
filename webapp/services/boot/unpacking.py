# SPDX-License-Identifier: Apache-2.0
"""The files of a boot loader's archive, within limits (rule: boot-loader-archives)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from webapp.errors import Problem
from webapp.inspection import tar_headers, tarballs, unpacking

MAX_FILES = 300  # pxelinux has 60 modules
MAX_BYTES = 32 << 20
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)
_ODD = (
    unpacking.Cut,
    unpacking.Damaged,
    tarballs.NotTar,
    tarballs.TooLargeHeader,
    tarballs.TooManyExtents,
)


def unpack(pieces: Iterable[bytes], where: str) -> dict[str, bytes]:
    """The plain files at the top of an archive, by name. Raises Problem.

    Folders, links and devices are left out, and so are names that no loader asks for.
    """
    files: dict[str, bytearray] = {}
    total = 0
    reader = tarballs.TarReader()
    try:
        for piece in _raw(pieces):
            for event in reader.feed(piece):
                if isinstance(event, tarballs.Member):
                    name = _served(event)
                    if name:
                        files[name] = bytearray()  # the last one of a name counts, as in tar
                    total += event.size  # with its holes
                    if total > MAX_BYTES:
                        raise _refused(where, f"more than {MAX_BYTES >> 20} MiB")
                    if len(files) > MAX_FILES or reader.headers > 10 * MAX_FILES:
                        raise _refused(where, f"more than {MAX_FILES} files")
                    continue
                if name := _served(event.member):
                    kept = files[name]
                    if not len(kept) <= event.place <= event.member.size - len(event.data):
                        raise tarballs.NotTar
                    kept += bytes(event.place - len(kept)) + event.data
    except _ODD as error:
        raise _refused(where, "a damaged archive") from error
    if not reader.is_between:
        raise _refused(where, "a truncated archive")
    return {name: bytes(content) for name, content in files.items()}


def _raw(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = iter(pieces)
    first = next(waiting, b"")
    kind = unpacking.compression_of(first)
    if kind in unpacking.NAMED_ONLY:
        raise unpacking.Damaged(kind)

    def chained() -> Iterator[bytes]:
        yield first
        yield from waiting

    done = 0
    for piece in unpacking.raw(chained(), kind):
        done += len(piece)
        if done > 2 * MAX_BYTES:
            raise unpacking.Damaged("it never ends")
        yield piece


def _served(member: tarballs.Member) -> str:
    """The name that loaders ask for; "" for what isn't served."""
    name = member.name.removeprefix("./")
    is_plain = member.kind in tar_headers.REGULAR + "S"
    return name if is_plain and _NAME.fullmatch(name) else ""


def _refused(where: str, got: str) -> Problem:
    return Problem(
        "A boot loader's archive can't be unpacked.",
        where=where,
        expected=f"a tarball of up to {MAX_FILES} files and {MAX_BYTES >> 20} MiB",
        got=got,
        next_step="Contact the publisher of the boot source. The previous version stays in use.",
    )
