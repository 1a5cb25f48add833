# SPDX-License-Identifier: Apache-2.0
"""Ranges of a stream that only moves forward, holes included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Watched:
    """A range someone asked for, filled as the bytes pass."""

    first: int
    size: int
    then: Callable[[bytes], None]
    data: bytearray = field(default_factory=bytearray)

    @property
    def is_full(self) -> bool:
        """Whether all of it has passed."""
        return len(self.data) >= self.size


class Ranges:
    """Collects ranges of a stream. A hole costs only the ranges that lie in it."""

    def __init__(self) -> None:
        self.position = 0
        self._start = 0  # of what is passing now: ranges may still be asked for in it
        self._piece: bytes | None = b""  # None: a hole
        self._open: list[Watched] = []

    def watch(self, first: int, size: int, then: Callable[[bytes], None]) -> bool:
        """Ask for a range, which ``then`` gets; False when its start has already passed."""
        if first < self._start:
            return False
        wanted = Watched(first, size, then)
        self._fill(wanted)
        self._open.append(wanted)
        return True

    def pass_by(self, piece: bytes) -> None:
        """Take the next bytes, and hand out the ranges they complete."""
        self._pass(piece, len(piece))

    def skip(self, size: int) -> None:
        """Take that many zeros, without making them."""
        self._pass(None, size)

    def _pass(self, piece: bytes | None, size: int) -> None:
        self._start = self.position
        self._piece = piece
        self.position += size
        for one in self._open:
            self._fill(one)
        # Whoever gets one may ask for the next, which may lie in this very piece.
        while done := [one for one in self._open if one.is_full]:
            self._open = [one for one in self._open if not one.is_full]
            for one in done:
                one.then(bytes(one.data))

    def _fill(self, one: Watched) -> None:
        begin = one.first + len(one.data)
        stop = min(one.first + one.size, self.position)
        if not self._start <= begin < stop:
            return
        if self._piece is None:
            one.data += bytes(stop - begin)
        else:
            one.data += self._piece[begin - self._start : stop - self._start]


class Tail:
    """The last bytes of a stream, at most ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()

    def pass_by(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._data += piece[-self._most :]
        if len(self._data) > 2 * self._most:  # seldom, so that little is moved
            del self._data[: -self._most]

    def skip(self, size: int) -> None:
        """Take that many zeros."""
        self.pass_by(bytes(min(size, self._most)))

    def data(self) -> bytes:
        """What is kept."""
        return bytes(self._data[-self._most :])
