# SPDX-License-Identifier: Apache-2.0
"""The names in a tarball as its bytes pass, without keeping any content.

Source: POSIX.1-2008 pax (ustar header, typeflags); GNU tar's long names. tarfile
would read a header's claimed size into memory, whatever a stranger wrote there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 512
_MOST_NAME = 64 << 10  # of a long name or a pax header


class NotTar(Exception):
    """The bytes at this place are no header."""


@dataclass
class Member:
    """A file in a tarball. left: bytes of it that have not passed yet."""

    name: str
    kind: str
    size: int
    left: int


@dataclass(frozen=True)
class Content:
    """Some bytes of a member."""

    member: Member
    data: bytes


class TarReader:
    """Feed it raw bytes; it gives members as they begin, and their content."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._member: Member | None = None
        self._padding = 0
        self._name = ""
        self._collecting: tuple[str, int, bytearray] | None = None
        self.is_ended = False
        self._zeros = 0

    @property
    def is_between(self) -> bool:
        """Whether no member is half there."""
        return self._member is None and self._collecting is None and not self._buffer

    def feed(self, piece: bytes) -> Iterator[Member | Content]:
        """The next bytes. Raises NotTar."""
        view = memoryview(piece)
        while view and not self.is_ended:
            if self._padding:
                skipped = min(self._padding, len(view))
                self._padding -= skipped
                view = view[skipped:]
            elif self._collecting is not None:
                view = self._collect(view)
            elif self._member is not None:
                member = self._member
                taken = view[: member.left]
                member.left -= len(taken)
                view = view[len(taken) :]
                yield Content(member, bytes(taken))
                if not member.left:
                    self._end_member(member.size)
            else:
                taken = view[: BLOCK - len(self._buffer)]
                self._buffer += taken
                view = view[len(taken) :]
                if len(self._buffer) == BLOCK:
                    block, self._buffer = bytes(self._buffer), bytearray()
                    member_or_none = self._begin(block)
                    if member_or_none is not None:
                        yield member_or_none

    def _begin(self, block: bytes) -> Member | None:
        if not block.strip(b"\0"):
            self._zeros += 1
            self.is_ended = self._zeros == 2
            return None
        self._zeros = 0
        if not is_header(block):
            raise NotTar
        kind = chr(block[156])
        size = _number(block[124:136])
        if kind in "LKxg":
            if size > _MOST_NAME:
                raise NotTar
            self._collecting = (kind, size, bytearray())
            if not size:
                self._collecting = None
            return None
        name = self._name or _name(block)
        self._name = ""
        has_content = kind in "0\x007" and size
        member = Member(name, kind, size if has_content else 0, size if has_content else 0)
        if member.left:
            self._member = member
        return member

    def _collect(self, view: memoryview) -> memoryview:
        if self._collecting is None:
            return view
        kind, size, data = self._collecting
        taken = view[: size - len(data)]
        data += taken
        if len(data) == size:
            self._collecting = None
            self._padding = -size % BLOCK
            if kind == "L":
                self._name = bytes(data).rstrip(b"\0").decode("utf-8", "replace")
            elif kind == "x":
                self._name = _pax_name(bytes(data)) or self._name
        return view[len(taken) :]

    def _end_member(self, size: int) -> None:
        self._member = None
        self._padding = -size % BLOCK


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are a tar header: its checksum says so."""
    if len(block) < BLOCK or not block.strip(b"\0"):
        return False
    try:
        stated = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return stated == sum(block[:148]) + 8 * 32 + sum(block[156:512])


def _number(text: bytes) -> int:
    if text[0] & 0x80:  # GNU: base 256
        return int.from_bytes(text[1:], "big") & ((1 << 62) - 1)
    try:
        return int(text.strip(b" \0") or b"0", 8)
    except ValueError:
        raise NotTar from None


def _name(block: bytes) -> str:
    name = block[:100].split(b"\0")[0]
    if block[257:262] == b"ustar" and block[345]:
        name = block[345:500].split(b"\0")[0] + b"/" + name
    return name.decode("utf-8", "replace")


def _pax_name(data: bytes) -> str:
    for line in data.split(b"\n"):
        key, _, value = line.partition(b" ")[2].partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "replace")
    return ""
