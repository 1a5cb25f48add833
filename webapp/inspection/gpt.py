# SPDX-License-Identifier: Apache-2.0
"""GUID partition tables: both headers, and the list of entries wherever it lies.

Source: UEFI 2.10 section 5.3. Every legal table is read: 1 to 16,384 entries of 128,
256, ... bytes, on disks with sectors of 512 or 4,096 bytes.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

from webapp.inspection.report import Partition

SECTORS = (512, 4096)
MAGIC = b"EFI PART"
MAX_LIST_BYTES = 4 << 20  # bytes; of a list that has to be kept whole
_MAX_ENTRIES = 16384
_MAX_ENTRY_BYTES = 4096
_KINDS = {
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "efi",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "basic",
    "AA31E02A-400F-11DB-9590-000C2911D1B8": "vmfs",
    "4EB2EA39-7855-4790-A79E-FAE495E21F8D": "vmfsl",
    "9D275380-40AD-11DB-BF97-000C2911D1B8": "vmkcore",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "linux",
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "linux",
    "E6D6D379-F507-44C2-A23C-238F2A3DF928": "lvm",
    "A19D880F-05FC-4D3B-A006-743F0F84911E": "raid",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "swap",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "msr",
    "21686148-6449-6E6F-744E-656564454649": "bios",
}


class BadTable(Exception):
    """The partition table is damaged, or not what UEFI allows. str: why, as half a sentence."""


@dataclass(frozen=True)
class Header:
    """One of the two headers. Places in sectors; crc: of the list of entries."""

    sector: int
    mine: int
    other: int
    list_at: int
    count: int
    entry: int
    crc: int

    @property
    def list_size(self) -> int:
        """The list of entries in bytes."""
        return self.count * self.entry


def read_header(block: bytes, sector: int) -> Header:
    """The header in a sector that begins with MAGIC. Raises BadTable."""
    (length,) = struct.unpack_from("<I", block, 12)
    (stated,) = struct.unpack_from("<I", block, 16)
    if not 92 <= length <= sector:
        raise BadTable(f"its header claims to be {length} bytes long")
    crc = zlib.crc32(block[:16] + bytes(4) + block[20:length])
    if crc != stated:
        raise BadTable(f"its header has the checksum {crc:08x}, expected {stated:08x}")
    mine, other = struct.unpack_from("<QQ", block, 24)
    list_at, count, entry, list_crc = struct.unpack_from("<QIII", block, 72)
    if not 1 <= count <= _MAX_ENTRIES:
        raise BadTable(f"its list has {count} entries; 1 to {_MAX_ENTRIES} are allowed")
    if not 128 <= entry <= _MAX_ENTRY_BYTES or entry & (entry - 1):
        raise BadTable(f"its entries are {entry} bytes long; 128, 256, 512, ... are allowed")
    return Header(sector, mine, other, list_at, count, entry, list_crc)


class EntryList:
    """The list of entries, a piece at a time: whole entries each. ``end`` once all passed."""

    def __init__(self, header: Header) -> None:
        self.partitions: list[Partition] = []
        self.first = header.list_at * header.sector
        self.size = header.list_size
        self._header = header
        self._crc = 0
        self._number = 0

    def feed(self, piece: bytes) -> None:
        """The next entries. Raises BadTable."""
        self._crc = zlib.crc32(piece, self._crc)
        for place in range(0, len(piece), self._header.entry):
            self._number += 1
            if piece[place : place + 16] != bytes(16):
                self._see(piece[place : place + 128])

    def end(self) -> None:
        """Compare the checksum. Raises BadTable."""
        if self._crc != self._header.crc:
            raise BadTable(
                f"its list of partitions has the checksum {self._crc:08x}, "
                f"expected {self._header.crc:08x}"
            )
        last = max(self._header.mine, self._header.other)
        sector = self._header.sector
        for partition in self.partitions:
            if partition.size <= 0 or partition.first + partition.size > (last + 1) * sector:
                raise BadTable(f"partition {partition.number} is outside the disk")

    def _see(self, entry: bytes) -> None:
        first, last = struct.unpack_from("<QQ", entry, 32)
        kind = _KINDS.get(str(uuid.UUID(bytes_le=entry[:16])).upper(), "other")
        name = entry[56:128].decode("utf-16-le", "ignore").split("\0")[0]
        clean = "".join(char for char in name if char.isprintable() and char != "\uffff")
        sector = self._header.sector
        self.partitions.append(
            Partition(self._number, clean, kind, first * sector, (last - first + 1) * sector)
        )


def check_backup(last: bytes, primary: Header) -> str:
    """What is wrong with the header in the disk's last sector; "" when it is good."""
    if last[:8] != MAGIC:
        return "the backup partition table at its end is missing"
    try:
        backup = read_header(last, primary.sector)
    except BadTable as bad:
        return f"the backup partition table at its end is damaged: {bad}"
    if (backup.mine, backup.other) != (primary.other, 1):
        return "the backup partition table at its end belongs to another disk"
    return ""


def read_backup(tail: bytes, size: int) -> tuple[Header, list[Partition]] | None:
    """The backup table at the end of a disk of ``size`` bytes, when it is good.

    tail: the disk's last bytes, MAX_LIST_BYTES and a sector are enough.
    """
    for sector in SECTORS:
        block = tail[-sector:]
        if len(block) < sector or block[:8] != MAGIC or size % sector:
            continue
        try:
            header = read_header(block, sector)
            if header.mine != size // sector - 1:
                continue
            entries = EntryList(header)
            start = entries.first - (size - len(tail))
            if start < 0 or start + entries.size > len(tail):
                continue
            entries.feed(tail[start : start + entries.size])
            entries.end()
        except BadTable:
            continue
        return header, entries.partitions
    return None
