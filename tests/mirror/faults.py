# SPDX-License-Identifier: Apache-2.0
"""Faults as data: what a mirror does wrong, to which paths, how many times."""

from __future__ import annotations

import gzip
import itertools
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

CHUNK = 64 << 10
ZEROS = bytes(16 << 20)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule. The first rule whose path matches and that is still active wins.

    path: regular expression, searched in the raw path of the request (no leading slash).
    after, first: skip that many requests of a path, then act on so many (None: on all).
    unless: request headers that switch the rule off, as ``{"Authorization": "Bearer x"}``.

    In place of the file: status, headers, body, redirect ({base} is this server,
    {canary} the other host, {path} the path), repeat (text and total bytes), raw (bytes
    in place of an HTTP answer), gzip_bomb (that many zero bytes, compressed), hang
    (seconds without an answer, then close).
    To the file: delay (seconds before), rate (bytes a second), drip (bytes and the pause
    after them), cut (close after so many body bytes), reset (the same by TCP reset),
    stall (after so many bytes, seconds of silence, then close), truncate, extra (body
    shorter or longer), flip (one bit at that offset), length (what Content-Length says),
    is_chunked, no_length, is_gzipped, ignores_range (200 in place of 206),
    shifts_range (206 with the file's first bytes), no_etag.
    """

    path: str
    after: int = 0
    first: int | None = None
    unless: Mapping[str, str] = field(default_factory=dict)
    method: str = ""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | None = None
    redirect: str | None = None
    repeat: tuple[str, int] | None = None
    raw: str | None = None
    gzip_bomb: int | None = None
    hang: float | None = None

    delay: float = 0.0
    rate: float = 0.0
    drip: tuple[int, float] | None = None
    cut: int | None = None
    reset: int | None = None
    stall: tuple[int, float] | None = None
    truncate: int | None = None
    extra: int = 0
    flip: int | None = None
    length: int | None = None
    is_chunked: bool = False
    no_length: bool = False
    is_gzipped: bool = False
    ignores_range: bool = False
    shifts_range: bool = False
    no_etag: bool = False

    @classmethod
    def of(cls, rule: Fault | Mapping[str, Any]) -> Fault:
        """Accept a rule as it stands or as data; an unknown word is an error."""
        if isinstance(rule, Fault):
            return rule
        unknown = set(rule) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown word in a fault: {', '.join(sorted(unknown))}")
        words: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in rule.items()}
        return cls(**words)

    def matches(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Whether the rule is about this request; it may have run out all the same."""
        if self.method and method != self.method:
            return False
        if self.unless and all(headers.get(k) == v for k, v in self.unless.items()):
            return False
        return re.search(self.path, path) is not None

    def is_active(self, count: int) -> bool:
        """Whether the rule acts on the count-th request (from 1) of a path."""
        return count > self.after and (self.first is None or count <= self.after + self.first)

    @property
    def answers(self) -> bool:
        """Whether the rule's own answer takes the place of the file."""
        own = (self.status, self.body, self.redirect, self.repeat, self.gzip_bomb)
        return any(part is not None for part in own)

    @property
    def is_plain(self) -> bool:
        """Whether the file's bytes go out as they are and at full speed."""
        parts = (self.drip, self.cut, self.reset, self.stall, self.truncate, self.flip, self.length)
        flags = (self.rate, self.extra, self.is_chunked, self.no_length, self.is_gzipped)
        return all(part is None for part in parts) and not any(flags)


NO_FAULT = Fault(path="")


@dataclass
class Body:
    """What is left to send: the chunks and the length to declare (None: none)."""

    chunks: Iterable[bytes]
    length: int | None
    headers: list[tuple[str, str]] = field(default_factory=list)


def spoil(body: Body, fault: Fault) -> Body:
    """Change the content of a body as the fault says; how it is sent comes later."""
    if fault.flip is not None:
        body.chunks = _flipped(body.chunks, fault.flip)
    if fault.truncate is not None:
        body.chunks = _first(body.chunks, fault.truncate)
        body.length = None if body.length is None else min(body.length, fault.truncate)
    if fault.extra:
        body.chunks = _chain(body.chunks, repeated("X", fault.extra))
        body.length = None if body.length is None else body.length + fault.extra
    if fault.is_gzipped:
        packed = gzip.compress(b"".join(body.chunks))
        body = Body([packed], len(packed), [*body.headers, ("Content-Encoding", "gzip")])
    if fault.length is not None:
        body.length = fault.length
    if fault.is_chunked or fault.no_length:
        body.length = None
    return body


def repeated(text: str, total: int) -> Iterator[bytes]:
    """The text again and again, cut at the total."""
    block = text.encode() * (CHUNK // len(text) + 1)
    while total > 0:
        yield block[:total]
        total -= len(block)


def gzipped_zeros(total: int) -> Iterator[bytes]:
    """A gzip stream of that many zero bytes, made while it is read."""
    many, rest = divmod(total, len(ZEROS))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield gzip.compress(b"", mtime=0)[:10]
    yield from itertools.repeat(_packed_zeros(), many)
    yield packer.compress(ZEROS[:rest]) + packer.flush()
    checksum = zlib.crc32(ZEROS[:rest])
    for _ in range(many):
        checksum = zlib.crc32(ZEROS, checksum)
    yield struct.pack("<II", checksum, total % 2**32)


@cache
def _packed_zeros() -> bytes:
    """A whole piece of a stream, which can be repeated: 4 GiB took five seconds to pack."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(ZEROS) + packer.flush(zlib.Z_FULL_FLUSH)


def pieces(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of at most size."""
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def _chain(*parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield from part


def _first(chunks: Iterable[bytes], total: int) -> Iterator[bytes]:
    for chunk in chunks:
        if total <= 0:
            return
        yield chunk[:total]
        total -= len(chunk)


def _flipped(chunks: Iterable[bytes], offset: int) -> Iterator[bytes]:
    position = 0
    for chunk in chunks:
        if position <= offset < position + len(chunk):
            changed = bytearray(chunk)
            changed[offset - position] ^= 1
            chunk = bytes(changed)
        position += len(chunk)
        yield chunk
