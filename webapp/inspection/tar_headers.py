# SPDX-License-Identifier: Apache-2.0
"""One tar header block, and the records of a pax header, as GNU tar reads them.

Source: POSIX.1-2008 pax (ustar, extended headers); the GNU tar manual, "Basic Tar
Format". Where the two differ, GNU tar wins: it unpacks the file on the machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = 512
REGULAR = "0\0" + "7"
_WITHOUT_CONTENT = "123456"  # links, devices, folders and FIFOs, whatever their size field says
_GNU, _USTAR = b"ustar  \0", b"ustar\0"
_MAX = (1 << 63) - 1
_OCTAL = re.compile(rb"[ \t\n\v\f\r]*([0-7]*)(?:[\0 \t\n\v\f\r].*)?", re.DOTALL)
_RECORD = re.compile(rb"[ \t]*([0-9]{1,19})[ \t]+([^=]*)=")
_KEYS = {b"path", b"linkpath", b"size"}
_NEWLINE = 10
_MAX_RECORDS = 50_000
SPARSE = b"GNU.sparse."
_DIGITS = re.compile(rb"[0-9]{1,19}")


class NotTar(Exception):
    """The bytes at this place aren't a valid tar header."""


class TooLargeHeader(Exception):
    """A pax header is larger than what is read."""


@dataclass(frozen=True)
class Header:
    """The fields that matter. dialect: gnu, star, ustar or v7; size: as the field states it."""

    name: bytes
    link: bytes
    kind: str
    size: int
    dialect: str
    block: bytes


def is_header(block: bytes) -> bool:
    """Whether the first 512 bytes are a tar header, judging by the checksum.

    Some old programs added up signed bytes; readers accept both sums.
    """
    if len(block) < BLOCK:
        return False
    try:
        stated = _octal(block[148:156])
    except NotTar:
        return False
    rest = block[:148] + block[156:BLOCK]
    unsigned = sum(rest) + 8 * 32
    if stated == unsigned:
        return any(rest)
    return stated == unsigned - 256 * len(rest.translate(None, _ASCII))


_ASCII = bytes(range(128))


def parse(block: bytes) -> Header:
    """A header block. Raises NotTar."""
    if not is_header(block):
        raise NotTar
    kind = chr(block[156])
    dialect = _dialect(block)
    name = block[:100].split(b"\0")[0]
    if dialect in ("ustar", "star") and block[345]:
        name = block[345:500].split(b"\0")[0] + b"/" + name
    size = 0 if kind == "1" else number(block[124:136])
    return Header(name, block[157:257].split(b"\0")[0], kind, size, dialect, block)


def has_content(kind: str, name: bytes) -> bool:
    """Whether bytes follow the header. A plain file whose name ends in "/" is a folder."""
    return kind not in _WITHOUT_CONTENT and not (kind in REGULAR and name.endswith(b"/"))


def _dialect(block: bytes) -> str:
    magic = block[257:265]
    if magic == _GNU:
        return "gnu"
    if not magic.startswith(_USTAR):
        return "v7"
    times = (block[476:488], block[488:500])
    is_star = not block[475] and all(t[:1].isdigit() and t[11:] == b" " for t in times)
    return "star" if is_star else "ustar"


def number(field: bytes) -> int:
    """A number field: octal text, or GNU's base 256. Raises NotTar, also when negative."""
    text = field.lstrip(b" \t\n\v\f\r")
    if text[:1] == b"\x80":
        value = int.from_bytes(text[1:], "big")
    elif text[:1] == b"\xff":
        raise NotTar
    else:
        value = _octal(field)
    if value > _MAX:
        raise NotTar
    return value


def decimal(text: bytes) -> int:
    """A number in a pax record or a sparse map. Raises NotTar."""
    if not _DIGITS.fullmatch(text) or int(text) > _MAX:
        raise NotTar
    return int(text)


def records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records (key, value) of a pax header that matter here, up to the first malformed one.

    Each record states its own length, so a value may hold anything, even lines
    that look like records. Raises TooLargeHeader.
    """
    found, place, end, count = [], 0, len(data), 0
    match = _RECORD.match
    while (record := match(data, place)) is not None:
        count += 1
        if count > _MAX_RECORDS:
            raise TooLargeHeader
        place += int(record[1])
        if not record.end() < place <= end or data[place - 1] != _NEWLINE:
            break
        key = record[2]
        if key in _KEYS or key.startswith(SPARSE):
            found.append((key, data[record.end() : place - 1]))
    return found


def _octal(field: bytes) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise NotTar
    return int(match[1] or b"0", 8)
