# SPDX-License-Identifier: Apache-2.0
"""The members of a tarball as its bytes pass, in bounded memory.

Reads what GNU tar reads, and where it reads it: long names, pax headers (local and
global) and sparse members in every format. The standard library's tarfile would
load a header of any size into memory, and can't read a stream that is pushed at it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from webapp.inspection import sparse, tar_headers
from webapp.inspection.sparse import Extents, PaxMap, TooManyExtents
from webapp.inspection.tar_headers import BLOCK, Header, NotTar, TooLargeHeader, is_header

__all__ = [
    "BLOCK",
    "Content",
    "Member",
    "NotTar",
    "TarReader",
    "TooLargeHeader",
    "TooManyExtents",
    "is_header",
]

_MAX_NAME_BYTES = 64 << 10
_MAX_HEADER_BYTES = 4 << 20  # bytes of a pax header; values such as xattrs may be large


@dataclass(frozen=True)
class Member:
    """A file in a tarball. size: of the file it becomes, holes included, in bytes."""

    name: str
    kind: str
    size: int
    link: str = ""


@dataclass(frozen=True)
class Content:
    """Some bytes of a member, and their place in the file it becomes.

    What is between two pieces is a hole: zeros that aren't stored. A piece without
    bytes marks the end of a hole at the end of the file.
    """

    member: Member
    place: int
    data: bytes


Event = Member | Content
Steps = Generator[Event | None, None, None]


class TarReader:
    """Feed it raw bytes; it yields members as they begin, and their content.

    is_between: no member is half read, so the archive may end here.
    headers: how many were read.
    has_more: there are bytes after a single block of zeros, which nobody will unpack.
    """

    def __init__(self) -> None:
        self.has_more = False
        self.headers = 0
        self.is_between = True
        self._rest = memoryview(b"")
        self._steps = self._read()
        self._local: list[tuple[bytes, bytes]] = []
        self._global: list[tuple[bytes, bytes]] = []
        self._long_name = self._long_link = b""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The next bytes. Raises NotTar, TooLargeHeader, TooManyExtents."""
        self._rest = memoryview(piece)
        for event in self._steps:
            if event is None:
                return  # it waits for more bytes
            yield event

    # Each step yields an event, or None when it needs more bytes.

    def _read(self) -> Steps:
        while True:
            self.is_between = True
            block = yield from self._take(BLOCK)
            if not any(block):
                # GNU tar stops at the first block of zeros; two of them are the proper end.
                self.has_more = any((yield from self._take(BLOCK)))
                return
            self.is_between = False
            self.headers += 1
            header = tar_headers.parse(block)
            if header.kind in "LK":
                text = (yield from self._text(header.size)).split(b"\0")[0]
                if header.kind == "L":
                    self._long_name = text
                else:
                    self._long_link = text
            elif header.kind in "xXg":
                found = tar_headers.records((yield from self._extended(header.size)))
                if header.kind == "g":
                    self._global = found
                else:
                    self._local = found
            else:
                yield from self._member(header)
                self._local = []
                self._long_name = self._long_link = b""

    def _member(self, header: Header) -> Steps:
        records = self._global + self._local
        values = dict(records)
        stored = tar_headers.decimal(values[b"size"]) if b"size" in values else header.size
        holes = PaxMap(records if header.dialect in ("ustar", "star") else ())
        name = holes.name or values.get(b"path") or self._long_name or header.name
        link = values.get(b"linkpath") or self._long_link or header.link
        size, extents = stored, holes.extents
        if not tar_headers.has_content(header.kind, name):
            yield Member(_text(name), header.kind, 0, _text(link))
            return
        if header.kind == "S" and header.dialect in ("gnu", "star"):
            gnu = sparse.GnuMap(header)
            while gnu.needs_more:
                gnu.feed((yield from self._take(BLOCK)))
            size, extents = gnu.size, gnu.extents
        elif holes.is_sparse and holes.size is not None:
            size = holes.size
        member = Member(_text(name), header.kind, size, _text(link))
        yield member
        used = 0
        if holes.has_map_in_data and header.kind != "S":
            table = sparse.DataMap()
            while table.needs_more:
                table.feed((yield from self._take(BLOCK)))
                used += BLOCK
            extents = table.extents
        if extents is None:
            yield from self._content(member, 0, stored)
        else:
            used += yield from self._pieces(member, extents)
            rest = max(0, stored - used)
            yield from self._skip(rest + -rest % BLOCK)

    def _pieces(self, member: Member, extents: Extents) -> Generator[Event | None, None, int]:
        """Each piece begins on a block of its own. Returns how many bytes they have."""
        used = 0
        for place, size in extents:
            if size:
                yield from self._content(member, place, size)
            else:
                yield Content(member, place, b"")
            used += size
        return used

    def _content(self, member: Member, place: int, size: int) -> Steps:
        end, padding = place + size, -size % BLOCK
        while place < end:
            taken = self._rest[: end - place]
            self._rest = self._rest[len(taken) :]
            if taken:
                yield Content(member, place, bytes(taken))
                place += len(taken)
            else:
                yield None
        yield from self._skip(padding)

    def _text(self, size: int) -> Generator[Event | None, None, bytes]:
        text = yield from self._take(min(size, _MAX_NAME_BYTES))
        yield from self._skip(size - len(text) + -size % BLOCK)
        return text

    def _extended(self, size: int) -> Generator[Event | None, None, bytes]:
        if size > _MAX_HEADER_BYTES:
            raise TooLargeHeader
        data = yield from self._take(size)
        yield from self._skip(-size % BLOCK)
        return data

    def _take(self, size: int) -> Generator[Event | None, None, bytes]:
        taken = bytes(self._rest[:size])
        self._rest = self._rest[len(taken) :]
        if len(taken) == size:
            return taken
        kept = bytearray(taken)
        while len(kept) < size:
            yield None
            more = self._rest[: size - len(kept)]
            self._rest = self._rest[len(more) :]
            kept += more
        return bytes(kept)

    def _skip(self, size: int) -> Steps:
        while size:
            skipped = min(size, len(self._rest))
            self._rest = self._rest[skipped:]
            size -= skipped
            if size:
                yield None


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
