# SPDX-License-Identifier: Apache-2.0
"""Just enough of NTFS to find names in its table of files as the bytes pass.

Source: the layout as the Linux kernel's fs/ntfs3 documents and reads it (boot
sector, FILE records with fixups, attributes $FILE_NAME and $DATA, mapping pairs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

ROOT = 5  # the number of the root folder's record
_FILE_NAME, _DATA, _END = 0x30, 0x80, 0xFFFFFFFF
_MAX_RUNS = 64
_MAX_TABLE_BYTES = 1 << 30  # bytes


@dataclass(frozen=True)
class Volume:
    """Sizes in bytes; table: where the table of files begins, from the partition's start."""

    cluster: int
    record: int
    table: int


@dataclass(frozen=True)
class Name:
    """A file's name, in lower case, and the record of the folder that holds it."""

    folder: int
    name: str


def read_volume(boot: bytes) -> Volume | None:
    """The layout in a boot sector; None when it isn't NTFS's."""
    if len(boot) < 512 or boot[3:11] != b"NTFS    ":
        return None
    sector, per_cluster = struct.unpack_from("<HB", boot, 11)
    (first,) = struct.unpack_from("<Q", boot, 48)
    (size,) = struct.unpack_from("<b", boot, 64)
    per_cluster = 1 << (256 - per_cluster) if per_cluster > 0x80 else per_cluster
    if sector not in (512, 1024, 2048, 4096) or not 0 < per_cluster <= 4096:
        return None
    cluster = sector * per_cluster
    record = cluster * size if size > 0 else 1 << -size
    if record not in (1024, 2048, 4096) or first >= 1 << 40:
        return None
    return Volume(cluster, record, first * cluster)


def table_runs(record: bytes, volume: Volume) -> list[tuple[int, int]]:
    """Where the whole table lies: (place, size) in bytes from the partition's start.

    record: the table's first. Empty when it is invalid or incomplete.
    """
    whole = _restored(record)
    for kind, attribute in _attributes(whole):
        if kind == _DATA and attribute[8] and not attribute[9] and len(attribute) >= 64:
            (pairs,) = struct.unpack_from("<H", attribute, 32)
            (allocated,) = struct.unpack_from("<Q", attribute, 40)
            runs = _checked(list(_read_runs(attribute[pairs:], volume.cluster)))
            # Of a table in very many pieces, the rest is described elsewhere.
            return runs if sum(size for _, size in runs) >= allocated else []
    return []


def names(chunk: bytes, volume: Volume) -> Iterator[Name]:
    """Every name of the records in a part of the table that are in use."""
    for start in range(0, len(chunk) - volume.record + 1, volume.record):
        record = _restored(chunk[start : start + volume.record])
        if not record or not record[22] & 1:
            continue
        for kind, attribute in _attributes(record):
            if kind == _FILE_NAME and not attribute[8]:
                (at,) = struct.unpack_from("<H", attribute, 20)
                found = attribute[at:]
                if len(found) >= 66:
                    folder = int.from_bytes(found[:6], "little")
                    text = found[66 : 66 + 2 * found[64]].decode("utf-16-le", "replace")
                    yield Name(folder, text.lower())


def _restored(record: bytes) -> bytes:
    """A record with the ends of its sectors restored; b"" when it isn't one."""
    if len(record) < 1024 or record[:4] != b"FILE":
        return b""
    at, count = struct.unpack_from("<HH", record, 4)
    if count != len(record) // 512 + 1 or at + 2 * count > 510:
        return b""
    whole = bytearray(record)
    for number in range(1, count):
        whole[512 * number - 2 : 512 * number] = record[at + 2 * number : at + 2 * number + 2]
    return bytes(whole)


def _attributes(record: bytes) -> Iterator[tuple[int, bytes]]:
    if not record:
        return
    (place,) = struct.unpack_from("<H", record, 20)
    while place + 24 <= len(record):
        kind, length = struct.unpack_from("<II", record, place)
        if kind == _END or length < 24 or place + length > len(record):
            return
        yield kind, record[place : place + length]
        place += length


def _read_runs(pairs: bytes, cluster: int) -> Iterator[tuple[int, int]]:
    place, first = 0, 0
    while place < len(pairs) and pairs[place]:
        sizes = pairs[place]
        length_size, offset_size = sizes & 15, sizes >> 4
        end = place + 1 + length_size + offset_size
        if not length_size or not offset_size or end > len(pairs):
            return  # a hole, which this table never has, or garbage
        middle = place + 1 + length_size
        length = int.from_bytes(pairs[place + 1 : middle], "little")
        first += int.from_bytes(pairs[middle:end], "little", signed=True)
        yield first * cluster, length * cluster
        place = end


def _checked(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The runs, unless they were made to be slow: too many, too large or overlapping."""
    ordered = sorted(runs)
    overlaps = any(a + size > b for (a, size), (b, _) in pairwise(ordered))
    if len(runs) > _MAX_RUNS or sum(size for _, size in runs) > _MAX_TABLE_BYTES or overlaps:
        return []
    return ordered if ordered and ordered[0][0] >= 0 else []
