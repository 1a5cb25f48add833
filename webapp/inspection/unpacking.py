# SPDX-License-Identifier: Apache-2.0
"""Unpack compressed bytes as a stream, a piece at a time; checksums are checked."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import lz4.frame
import zstandard

PIECE = 1 << 20  # raw bytes at a time
_PEEK_WINDOW, _PEEK_STEP = 8 << 20, 256  # a step unpacks to 8 MiB at the most
_PEEK_FRAMES, _MOST_SKIPPED = 64, 1000
XZ_MEMORY = 128 << 20  # for the dictionary; xz -9 needs 65 MiB


class Damaged(Exception):
    """The compressed stream breaks the rules of its format."""


class Cut(Exception):
    """The compressed stream ends before its end."""


HEAD = 4096  # bytes that tell the compression, unless a larger frame to skip comes first
NAMED_ONLY = {"zstd", "lz4", "lzip", "compress"}  # machines don't unpack these
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"LZIP\1", "lzip"),
    (b"\x1f\x9d", "compress"),
)
_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f (RFC 8878 section 3.1.2)


def compression_of(head: bytes) -> str:
    """By the first bytes: gzip, xz, bzip2 or one of NAMED_ONLY, "" for none.

    zstd and lz4 may begin with frames to skip: what follows them tells which it is.
    """
    place = skippable(head)
    if place + 4 > len(head) > 0 and place:
        return "zstd"
    for magic, kind in _MAGIC:
        if head.startswith(magic, place) and (not place or kind in NAMED_ONLY):
            return kind
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[3:4]:
        return "bzip2"
    return "zstd" if place else ""


def skippable(head: bytes, place: int = 0) -> int:
    """Where the frames to skip end that begin at a place."""
    for _ in range(_MOST_SKIPPED):
        if head[place + 1 : place + 4] != _SKIPPABLE or head[place] >> 4 != 5:
            break
        place += 8 + int.from_bytes(head[place + 4 : place + 8], "little")
    return place


def peek(head: bytes, kind: str) -> bytes:
    """The first raw bytes, PIECE at the most, of zstd or lz4; b"" when they take much memory."""
    decoder, made, place = _peeking(kind), b"", skippable(head)
    frames = 1
    try:
        while place < len(head) and len(made) < PIECE and frames <= _PEEK_FRAMES:
            piece = head[place : place + _PEEK_STEP]
            made += decoder.decompress(piece)
            place += len(piece)
            if decoder.eof:  # another frame may follow
                place = skippable(head, place - len(decoder.unused_data or b""))
                decoder, frames = _peeking(kind), frames + 1
    except (zstandard.ZstdError, RuntimeError, ValueError, EOFError, MemoryError):
        pass
    return made[:PIECE]


def _peeking(kind: str) -> Any:
    if kind == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=_PEEK_WINDOW).decompressobj()
    return lz4.frame.LZ4FrameDecompressor()


def raw(pieces: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """The raw bytes, at most PIECE at a time. Raises Damaged, Cut where the stream is so."""
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
    """zlib's decompressor with the interface of the others."""

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
                # Several streams in a row are one file; zeros may pad it.
                waiting = decoder.unused_data.lstrip(b"\0") or _next_of(pieces)
                is_first = False
                if not waiting:
                    return
                decoder = _new(kind)
            elif not made and not decoder.needs_input:
                raise Damaged("it can't be unpacked any further")
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        words = str(error) if is_first else "there are other bytes after its end"
        raise Damaged(words) from error


def _next_of(pieces: Iterator[bytes]) -> bytes:
    for piece in pieces:
        if piece := piece.lstrip(b"\0"):
            return piece
    return b""
