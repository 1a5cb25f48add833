# SPDX-License-Identifier: Apache-2.0
"""Where the data of a sparse tar member lies in the file it becomes.

Source: the GNU tar manual, "Storing Sparse Files": the old GNU format (and star's
variant of it), and the pax formats 0.0, 0.1 and 1.0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from webapp.inspection.tar_headers import SPARSE, Header, NotTar, decimal, number

MAX_EXTENTS = 1 << 20  # 16 MiB of memory
_IN_GNU, _IN_STAR, _IN_MORE = (386, 4), (356, 4), (0, 21)
_STAR_OLD_MARK = 366


class TooManyExtents(Exception):
    """The map has more pieces than are kept in memory."""


class Extents:
    """Pairs (offset, size) in bytes, in the order of their data."""

    def __init__(self) -> None:
        self._numbers = array("Q")

    def add(self, offset: int, size: int) -> None:
        """Add a piece. Raises TooManyExtents, NotTar."""
        if len(self._numbers) >= 2 * MAX_EXTENTS:
            raise TooManyExtents
        if offset + size >= 1 << 63:
            raise NotTar
        self._numbers.extend((offset, size))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        numbers = iter(self._numbers)
        return zip(numbers, numbers, strict=True)


class GnuMap:
    """The map of a typeflag S member: in its header, and in the blocks that follow.

    Feed it each further block while ``needs_more``.
    """

    def __init__(self, header: Header) -> None:
        block = header.block
        self.extents = Extents()
        self.needs_more = True
        if header.dialect == "gnu":
            self.size = number(block[483:495])
            self._add(block, *_IN_GNU, is_extended=block[482])
        else:
            self.size = number(block[452:464])
            if not block[345] and block[_STAR_OLD_MARK]:
                self._add(block, *_IN_STAR, is_extended=block[355])

    def feed(self, block: bytes) -> None:
        """The next extension block. Raises TooManyExtents, NotTar."""
        self._add(block, *_IN_MORE, is_extended=block[504])

    def _add(self, block: bytes, start: int, count: int, *, is_extended: int) -> None:
        self.needs_more = bool(is_extended)
        for place in range(start, start + 24 * count, 24):
            if not block[place + 12]:
                self.needs_more = False
                return
            offset, size = number(block[place : place + 12]), number(block[place + 12 : place + 24])
            if offset + size > self.size:
                raise NotTar
            self.extents.add(offset, size)


class PaxMap:
    """What the records of a pax header say about holes.

    has_map_in_data: format 1.0, whose map is the beginning of the member's data.
    """

    def __init__(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        self.extents: Extents | None = None
        self.has_map_in_data = False
        self.name = b""
        self.size: int | None = None
        self._offset = 0
        for key, value in records:
            if key.startswith(SPARSE):
                self._read(key.removeprefix(SPARSE), value)

    @property
    def is_sparse(self) -> bool:
        """Whether the member is sparse at all."""
        return self.has_map_in_data or self.extents is not None

    def _read(self, key: bytes, value: bytes) -> None:
        if key == b"name":
            self.name = value
        elif key in (b"size", b"realsize"):
            self.size = decimal(value)
        elif key == b"major":
            self.has_map_in_data = decimal(value) > 0
        elif key == b"numblocks":
            self.extents = None
        elif key == b"offset":
            self._offset = decimal(value)
        elif key == b"numbytes":
            self._add(self._offset, decimal(value))
        elif key == b"map":
            numbers = [decimal(part) for part in value.split(b",")]
            if len(numbers) % 2:
                raise NotTar
            self.extents = None
            for place in range(0, len(numbers), 2):
                self._add(numbers[place], numbers[place + 1])

    def _add(self, offset: int, size: int) -> None:
        if self.extents is None:
            self.extents = Extents()
        self.extents.add(offset, size)


class DataMap:
    """The map at the start of a 1.0 member: decimal numbers, one a line, padded to a block.

    Feed it block after block while ``needs_more``.
    """

    def __init__(self) -> None:
        self.extents = Extents()
        self._tail = b""
        self._left: int | None = None  # pairs
        self._offset: int | None = None

    @property
    def needs_more(self) -> bool:
        """Whether the map isn't complete yet."""
        return self._left != 0

    def feed(self, block: bytes) -> None:
        """The next block of data. Raises TooManyExtents, NotTar."""
        *lines, self._tail = (self._tail + block).split(b"\n")
        for line in lines:
            if not self.needs_more:
                return
            self._see(decimal(line))
        if self.needs_more and len(self._tail) > 20:
            raise NotTar

    def _see(self, value: int) -> None:
        if self._left is None:
            self._left = value
        elif self._offset is None:
            self._offset = value
        else:
            self.extents.add(self._offset, value)
            self._offset = None
            self._left -= 1
