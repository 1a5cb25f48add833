# SPDX-License-Identifier: Apache-2.0
"""Which partition table a disk has, from its first sectors.

Source: UEFI 2.10 section 5.2 (MBR). What ESXi's disks look like has a rule
(rule: esxi-disk-layout).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from webapp.inspection import gpt
from webapp.inspection.gpt import BadTable
from webapp.inspection.report import Disk, Esxi, Partition

__all__ = ["HEAD", "SECTOR", "BadTable", "Table", "layout_of", "read_table"]

SECTOR = 512
HEAD = 2 * max(gpt.SECTORS)  # the MBR, and the GPT header of either sector size
EXTENDED = "extended"
_PROTECTIVE = 0xEE
MAX_LOGICAL = 60
_MBR_KINDS = {
    0x05: EXTENDED,
    0x0F: EXTENDED,
    0x85: EXTENDED,
    0x07: "ntfs",
    0x82: "swap",
    0x83: "linux",
    0x8E: "lvm",
    0xFD: "raid",
    0xEF: "efi",
    0xFB: "vmfs",
    0x0C: "basic",
    0x0E: "basic",
}


@dataclass(frozen=True)
class Table:
    """What the first sectors say. header: of a GPT; None for an MBR, or when it is missing."""

    disk: Disk
    header: gpt.Header | None = None


def read_table(head: bytes) -> Table | None:
    """The partition table in the first HEAD bytes, None when there is none. Raises BadTable.

    Only a protective entry makes a GPT: without one, firmware and Linux go by the
    MBR, whatever old header is behind it. With one but without a header the table
    has no partitions yet; the backup at the end of the disk has them.
    """
    if len(head) < 2 * SECTOR or head[510:512] != b"\x55\xaa":
        return None
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    if not any(entry[4] == _PROTECTIVE for entry in entries):
        return _read_mbr(entries)
    problem: BadTable | None = None
    for sector in gpt.SECTORS:
        block = head[sector : 2 * sector]
        if len(block) < sector or block[:8] != gpt.MAGIC:
            continue
        try:
            header = gpt.read_header(block, sector)
            if header.mine != 1:
                raise BadTable(f"its header belongs in sector {header.mine}, but is in sector 1")
        except BadTable as bad:
            problem = problem or bad
            continue
        return Table(Disk("gpt", (header.other + 1) * sector, sector_size=sector), header)
    if problem is not None:
        raise problem
    return Table(Disk("gpt", 0))


def read_logical(
    sector: bytes, place: int, extended: Partition, number: int
) -> tuple[Partition | None, int]:
    """A logical partition by the sector in front of it, at ``place``; and where the next such is.

    0: there is none.
    """
    if sector[510:512] != b"\x55\xaa":
        return None, 0
    found, following = None, 0
    for at in range(446, 510, 16):
        kind, first, count = sector[at + 4], *struct.unpack_from("<II", sector, at + 8)
        if kind in _MBR_KINDS and _MBR_KINDS[kind] == EXTENDED:
            following = following or extended.first + first * SECTOR
        elif kind and count and found is None:
            name = _MBR_KINDS.get(kind, "other")
            found = Partition(number, "", name, place + first * SECTOR, count * SECTOR)
    return found, following


def layout_of(disk: Disk) -> Esxi | None:
    """Which ESXi layout the disk has, None for any other. Names may be garbage: types decide."""
    kinds = {p.number: p.kind for p in disk.partitions}
    is_esxi = kinds.get(1) == "efi" and kinds.get(5) == "basic" and kinds.get(6) == "basic"
    has_own = {"vmfsl", "vmkcore"} & set(kinds.values())
    if not is_esxi or not has_own:
        return None
    if "vmkcore" in has_own:
        return Esxi("6")
    bank = next(p for p in disk.partitions if p.number == 5)
    return Esxi("7.0" if bank.size < (2 << 30) else "7")


def _read_mbr(entries: list[bytes]) -> Table | None:
    disk = Disk("mbr", 0)
    for number, entry in enumerate(entries, 1):
        kind, first, count = entry[4], *struct.unpack_from("<II", entry, 8)
        if entry[0] not in (0, 0x80):
            return None  # the boot sector of a file system, not a partition table
        if kind and count:
            name = _MBR_KINDS.get(kind, "other")
            disk.partitions.append(Partition(number, "", name, first * SECTOR, count * SECTOR))
    return Table(disk) if disk.partitions else None
