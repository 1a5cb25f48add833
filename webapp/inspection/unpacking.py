# SPDX-License-Identifier: Apache-2.0
"""Compressed bytes as a stream of raw ones, a piece at a time; checksums are checked."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

PIECE = 1 << 20  # raw bytes at a time
XZ_MEMORY = 128 << 20  # what a dictionary may take; xz -9 needs 65 MiB


class Damaged(Exception):
    """The compressed stream is not what its format allows."""


class Cut(Exception):
    """The compressed stream ends before its end."""


def compression_of(head: bytes) -> str:
    """By the first bytes: gzip, xz, bzip2, zstd, or "" for none."""
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:6] == b"\xfd7zXZ\0":
        return "xz"
    if head[:3] == b"BZh" and head[3:4] in b"123456789":
        return "bzip2"
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return "zstd"
    return ""


def raw(pieces: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """The raw bytes, at most PIECE at a time. Raises Damaged, Cut at the place where it is so."""
    if kind == "":
        for piece in pieces:
            for start in range(0, len(piece), PIECE):
                yield piece[start : start + PIECE]
        return
    yield from _unpacked(iter(pieces), kind)


def _new(kind: str) -> Any:
    if kind == "gzip":
        return _Gzip()
    if kind == "xz":
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
    return bz2.BZ2Decompressor()


class _Gzip:
    """zlib's decompressor with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self._left = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._left and not self.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        made = self._inner.decompress(self._left + data, max_length)
        self._left = self._inner.unconsumed_tail
        return made


def _unpacked(pieces: Iterator[bytes], kind: str) -> Iterator[bytes]:
    decoder, waiting, is_first = _new(kind), b"", True
    try:
        while True:
            if decoder.needs_input and not waiting:
                waiting = next(pieces, b"")
                if not waiting:
                    raise Cut
            made = decoder.decompress(waiting, PIECE)
            waiting = b""
            if made:
                yield made
            if decoder.eof:
                # Several compressed streams one after the other are one file; zeros may pad it.
                waiting = decoder.unused_data.lstrip(b"\0") or _next_of(pieces)
                is_first = False
                if not waiting:
                    return
                decoder = _new(kind)
            elif not made and not decoder.needs_input:
                raise Damaged("it makes no progress")
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        words = "what follows its end is no further stream" if not is_first else str(error)
        raise Damaged(words) from error


def _next_of(pieces: Iterator[bytes]) -> bytes:
    for piece in pieces:
        if piece := piece.lstrip(b"\0"):
            return piece
    return b""
