# SPDX-License-Identifier: Apache-2.0
"""Partition tables and what they tell, read from a disk's bytes as they pass.

Sources: UEFI 2.10 section 5 (GPT), spec esxi b.2 (GUIDs and layouts of ESXi).
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from webapp.inspection.report import Disk, Esxi, Partition

SECTOR = 512
HEAD = 34 * SECTOR  # MBR, GPT header and 128 entries
_KINDS = {
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "efi",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "basic",
    "AA31E02A-400F-11DB-9590-000C2911D1B8": "vmfs",
    "4EB2EA39-7855-4790-A79E-FAE495E21F8D": "vmfsl",
    "9D275380-40AD-11DB-BF97-000C2911D1B8": "vmkcore",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "linux",
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "linux",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "swap",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "msr",
    "21686148-6449-6E6F-744E-656564454649": "bios",
}
_MBR_KINDS = {
    0x07: "ntfs",
    0x82: "swap",
    0x83: "linux",
    0xEF: "efi",
    0xFB: "vmfs",
    0x0C: "basic",
    0x0E: "basic",
}


class BadTable(Exception):
    """There is a GPT, and it is damaged."""


@dataclass
class Watched:
    """A range of a disk that somebody wants to see, filled as the bytes pass."""

    first: int
    size: int
    then: Callable[[bytes], None]
    data: bytearray = field(default_factory=bytearray)

    @property
    def is_full(self) -> bool:
        """Whether all of it came."""
        return len(self.data) >= self.size


class Ranges:
    """Collects ranges of a stream that only goes forward."""

    def __init__(self) -> None:
        self.position = 0
        self._piece = b""  # the bytes that pass just now: what is asked for may lie in them
        self._open: list[Watched] = []

    def watch(self, first: int, size: int, then: Callable[[bytes], None]) -> bool:
        """Ask for a range, which ``then`` gets; False for what lies behind and is gone."""
        if first < self.position - len(self._piece):
            return False
        wanted = Watched(first, size, then)
        self._fill(wanted)
        self._open.append(wanted)
        return True

    def pass_by(self, piece: bytes) -> None:
        """Take the next bytes, and give the ranges that they complete to whom they are for."""
        self._piece = piece
        self.position += len(piece)
        for one in self._open:
            self._fill(one)
        # Whoever sees one may ask for the next, which may lie in this very piece.
        while done := [one for one in self._open if one.is_full]:
            self._open = [one for one in self._open if not one.is_full]
            for one in done:
                one.then(bytes(one.data))

    def _fill(self, one: Watched) -> None:
        stop = self.position
        start = stop - len(self._piece)
        begin, end = one.first + len(one.data), one.first + one.size
        if begin < stop and end > start:
            one.data += self._piece[begin - start : min(end, stop) - start]


def read_table(head: bytes) -> Disk | None:
    """The partition table in the first HEAD bytes, None when there is none. Raises BadTable."""
    if len(head) < 2 * SECTOR or head[510:512] != b"\x55\xaa":
        return None
    if head[450] == 0xEE or head[SECTOR : SECTOR + 8] == b"EFI PART":
        return _read_gpt(head)
    return _read_mbr(head)


def check_backup(last: bytes, size: int) -> str:
    """Why the GPT header in the last sector is not good, "" when it is."""
    if last[:8] != b"EFI PART":
        return "the second partition table at its end is missing"
    try:
        _check_header(last)
    except BadTable as bad:
        return f"the second partition table at its end is damaged: {bad}"
    mine, other = struct.unpack_from("<QQ", last, 24)
    if mine != size // SECTOR - 1 or other != 1:
        return "the second partition table at its end is of another disk"
    return ""


def layout_of(disk: Disk) -> Esxi | None:
    """What kind of ESXi disk it is, None for any other. Names may be rubbish: types decide."""
    kinds = {p.number: p.kind for p in disk.partitions}
    is_esxi = kinds.get(1) == "efi" and kinds.get(5) == "basic" and kinds.get(6) == "basic"
    has_own = {"vmfsl", "vmkcore"} & set(kinds.values())
    if not is_esxi or not has_own:
        return None
    if "vmkcore" in has_own:
        return Esxi("6")
    bank = next(p for p in disk.partitions if p.number == 5)
    return Esxi("7.0" if bank.size < (2 << 30) else "7")


def _read_gpt(head: bytes) -> Disk:
    header = head[SECTOR : 2 * SECTOR]
    if header[:8] != b"EFI PART":
        raise BadTable("its header is missing")
    _check_header(header)
    (alternate,) = struct.unpack_from("<Q", header, 32)
    entries_at, count, size, crc = struct.unpack_from("<QIII", header, 72)
    if entries_at != 2 or not 1 <= count <= 128 or size != 128:
        raise BadTable("its list is of an odd shape")
    entries = head[2 * SECTOR : 2 * SECTOR + count * size]
    if len(entries) < count * size:
        raise BadTable("it is cut")
    if zlib.crc32(entries) != crc:
        raise BadTable("its list does not have the checksum that it names")
    disk = Disk("gpt", (alternate + 1) * SECTOR)
    for number in range(count):
        entry = entries[number * size : (number + 1) * size]
        if entry[:16] == bytes(16):
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        if last < first or last > alternate:
            raise BadTable(f"partition {number + 1} lies outside of the disk")
        kind = _KINDS.get(str(uuid.UUID(bytes_le=entry[:16])).upper(), "other")
        name = entry[56:128].decode("utf-16-le", "ignore").split("\0")[0]
        clean = "".join(char for char in name if char.isprintable() and char != "\uffff")
        disk.partitions.append(
            Partition(number + 1, clean, kind, first * SECTOR, (last - first + 1) * SECTOR)
        )
    return disk


def _check_header(header: bytes) -> None:
    (length,) = struct.unpack_from("<I", header, 12)
    (crc,) = struct.unpack_from("<I", header, 16)
    if not 92 <= length <= SECTOR:
        raise BadTable("its header is of an odd size")
    if zlib.crc32(header[:16] + bytes(4) + header[20:length]) != crc:
        raise BadTable("its header does not have the checksum that it names")


def _read_mbr(head: bytes) -> Disk | None:
    disk = Disk("mbr", 0)
    for number in range(4):
        entry = head[446 + number * 16 : 462 + number * 16]
        kind, first, count = entry[4], *struct.unpack_from("<II", entry, 8)
        if entry[0] not in (0, 0x80):
            return None  # a boot sector of a file system, no partition table
        if kind and count:
            name = _MBR_KINDS.get(kind, "other")
            disk.partitions.append(Partition(number + 1, "", name, first * SECTOR, count * SECTOR))
    return disk if disk.partitions else None
