# SPDX-License-Identifier: Apache-2.0
"""Tarballs byte by byte, in every dialect that people's tools write.

Written from POSIX (pax) and the GNU tar manual, not with the code under test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BLOCK = 512
END = bytes(2 * BLOCK)
Pieces = Sequence[tuple[int, bytes]]  # (place, data) of a sparse file


def padded(data: bytes) -> bytes:
    """Filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def octal(value: int, width: int = 12) -> bytes:
    """A number field; base 256 when octal digits don't suffice."""
    if value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return b"\x80" + value.to_bytes(width - 1, "big")


def header(
    name: bytes,
    size: int = 0,
    kind: bytes = b"0",
    *,
    magic: bytes = b"ustar\x0000",
    link: bytes = b"",
    fields: Iterable[tuple[int, bytes]] = (),
    has_signed_sum: bool = False,
) -> bytes:
    """One header block. fields: more (place, bytes)."""
    block = bytearray(BLOCK)
    parts = [(0, name), (100, octal(0o755, 8)), (108, octal(0, 8) * 2), (124, octal(size))]
    parts += [(136, octal(0)), (148, b" " * 8), (156, kind), (157, link), (257, magic), *fields]
    for place, data in parts:
        block[place : place + len(data)] = data
    total = sum(block)
    if has_signed_sum:
        total -= 256 * sum(byte > 127 for byte in block)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", **more: object) -> bytes:
    """A header with its content."""
    return header(name, len(data), kind, **more) + padded(data)  # type: ignore[arg-type]


def records(*pairs: tuple[bytes, bytes]) -> bytes:
    """Records of a pax header; each begins with its own length."""
    made = b""
    for key, value in pairs:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body)
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        made += str(length).encode() + body
    return made


def pax(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A pax header: for the next member, or with kind g for all that follow."""
    return member(b"PaxHeaders/x", records(*pairs), kind)


def gnu_sparse(name: bytes, size: int, pieces: Pieces) -> bytes:
    """A typeflag S member of GNU tar: four pieces in the header, 21 in each further block."""
    places = [(place, len(data)) for place, data in pieces] + [(size, 0)]
    fields = [octal(place) + octal(length) for place, length in places]
    more = fields[4:]
    extra = [(386, b"".join(fields[:4])), (482, b"\1" if more else b"\0"), (483, octal(size))]
    made = _sparse_head(name, pieces, b"ustar  \0", extra)
    return made + _further(more) + _packed(pieces)


def star_sparse(name: bytes, size: int, pieces: Pieces) -> bytes:
    """The same as star writes it: the whole map in further blocks."""
    places = [(place, len(data)) for place, data in pieces] + [(size, 0)]
    fields = [octal(place) + octal(length) for place, length in places]
    times = b"14000000000 "
    extra = [(452, octal(size)), (476, times * 2), (508, b"tar\0")]
    return _sparse_head(name, pieces, b"ustar\x0000", extra) + _further(fields) + _packed(pieces)


def pax_sparse(version: str, name: bytes, size: int, pieces: Pieces) -> bytes:
    """A sparse member in one of GNU tar's pax formats: 0.0, 0.1 or 1.0."""
    places = [(place, len(data)) for place, data in pieces] + [(size, 0)]
    hidden = b"./GNUSparseFile.1/" + name.rpartition(b"/")[2]
    count, total = b"%d" % len(places), b"%d" % size
    data = b"".join(padded(data) for _, data in pieces)
    if version == "1.0":
        numbers = [len(places), *(number for pair in places for number in pair)]
        table = padded(b"".join(b"%d\n" % number for number in numbers))
        keys = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]
        keys += [(b"GNU.sparse.name", name), (b"GNU.sparse.realsize", total)]
        return pax(*keys) + member(hidden, table + data)
    keys = [(b"GNU.sparse.size", total), (b"GNU.sparse.numblocks", count)]
    if version == "0.0":
        for place, length in places:
            keys.append((b"GNU.sparse.offset", b"%d" % place))
            keys.append((b"GNU.sparse.numbytes", b"%d" % length))
        return pax(*keys) + member(name, data)
    listed = b",".join(b"%d,%d" % pair for pair in places)
    keys += [(b"GNU.sparse.map", listed), (b"GNU.sparse.name", name)]
    return pax(*keys) + member(hidden, data)


def pieces_of(data: bytes, step: int = 4096) -> list[tuple[int, bytes]]:
    """What of some bytes isn't zeros, in whole steps, as a file system tells tar."""
    found: list[tuple[int, bytes]] = []
    for place in range(0, len(data), step):
        block = data[place : place + step]
        if not any(block):
            continue
        if found and found[-1][0] + len(found[-1][1]) == place:
            found[-1] = (found[-1][0], found[-1][1] + block)
        else:
            found.append((place, block))
    return found


def _sparse_head(
    name: bytes, pieces: Pieces, magic: bytes, fields: list[tuple[int, bytes]]
) -> bytes:
    return header(name, sum(len(data) for _, data in pieces), b"S", magic=magic, fields=fields)


def _further(fields: list[bytes]) -> bytes:
    made = b""
    while fields:
        block, fields = fields[:21], fields[21:]
        made += b"".join(block).ljust(504, b"\0") + (b"\1" if fields else b"\0") + bytes(7)
    return made


def _packed(pieces: Pieces) -> bytes:
    return b"".join(padded(data) for _, data in pieces)
