# SPDX-License-Identifier: Apache-2.0
"""Just enough of XFS to read the names in the root folder.

Source: "XFS Algorithms & Data Structures", 3rd edition (super block, inodes,
data extents; short form, block and leaf directories), with checksums and without.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SUPER = 512
_CHECKED = 5  # the version that has checksums, and with them larger headers
_LOCAL, _EXTENTS = 1, 2
_HUGE_COUNTS = 1 << 4  # in an inode's second flags: the number of extents is elsewhere
_MAX_EXTENTS = 8
_MAX_FOLDER_BYTES = 1 << 20  # bytes
_LEAVES = 32 << 30  # from this place in a folder on there are no names, only their hashes
_UNUSED = b"\xff\xff"


@dataclass(frozen=True)
class Volume:
    """What a super block says. Sizes in bytes; ``*_bits``: how a number is split."""

    block: int
    inode: int
    folder_block: int
    group_blocks: int
    group_bits: int
    inode_bits: int
    root: int
    is_checked: bool
    has_types: bool

    def place_of_block(self, number: int) -> int:
        """Where a block is, from the volume's start."""
        group, within = number >> self.group_bits, number & ((1 << self.group_bits) - 1)
        return (group * self.group_blocks + within) * self.block

    @property
    def root_place(self) -> int:
        """Where the root folder's inode is, from the volume's start."""
        within = self.root & ((1 << self.inode_bits) - 1)
        return self.place_of_block(self.root >> self.inode_bits) + within * self.inode


def read_volume(block: bytes) -> Volume | None:
    """The layout in a super block; None when it belongs to another file system."""
    if len(block) < SUPER or block[:4] != b"XFSB":
        return None
    (root,) = struct.unpack_from(">Q", block, 56)
    (group_blocks,) = struct.unpack_from(">I", block, 84)
    version, _, inode = struct.unpack_from(">HHH", block, 100)
    power, _, _, inode_bits, group_bits = struct.unpack_from(">BBBBB", block, 120)
    more_power = block[192]
    is_checked = version & 15 == _CHECKED
    old, new = (struct.unpack_from(">I", block, at)[0] for at in (200, 216))
    if not 9 <= power <= 16 or more_power > 7 or inode not in (256, 512, 1024, 2048):
        return None
    if not 0 < group_bits <= 31 or inode_bits > 8 or not group_blocks:
        return None
    return Volume(
        block=1 << power,
        inode=inode,
        folder_block=1 << power + more_power,
        group_blocks=group_blocks,
        group_bits=group_bits,
        inode_bits=inode_bits,
        root=root,
        is_checked=is_checked,
        has_types=bool(new & 1 if is_checked else old & 0x200),
    )


@dataclass(frozen=True)
class Folder:
    """What a folder's inode says: its names, or where they are: (place, size)."""

    names: frozenset[str] = frozenset()
    runs: tuple[tuple[int, int], ...] = ()


def read_folder(inode: bytes, volume: Volume) -> Folder | None:
    """The root folder's inode; None when it is invalid here."""
    (mode,) = struct.unpack_from(">H", inode, 2)
    if inode[:2] != b"IN" or mode >> 12 != 4:
        return None
    fork = inode[176 if inode[4] == 3 else 100 :]
    if inode[5] == _LOCAL:
        return Folder(names=frozenset(_short_names(fork, volume)))
    (flags,) = struct.unpack_from(">Q", inode, 120)
    is_huge = inode[4] == 3 and flags & _HUGE_COUNTS
    (count,) = (
        struct.unpack_from(">Q", inode, 24) if is_huge else struct.unpack_from(">I", inode, 76)
    )
    if inode[5] != _EXTENTS or not 0 < count <= min(_MAX_EXTENTS, len(fork) // 16):
        return None
    runs: list[tuple[int, int]] = []
    for number in range(count):
        high, low = struct.unpack_from(">QQ", fork, 16 * number)
        offset, length = high >> 9 & (1 << 54) - 1, low & 0x1FFFFF
        if offset * volume.block < _LEAVES:
            place = volume.place_of_block((high & 511) << 43 | low >> 21)
            runs.append((place, length * volume.block))
    is_whole = all(size and size % volume.folder_block == 0 for _, size in runs)
    if not is_whole or not 0 < sum(size for _, size in runs) <= _MAX_FOLDER_BYTES:
        return None
    return Folder(runs=tuple(runs))


def _short_names(fork: bytes, volume: Volume) -> set[str]:
    found: set[str] = set()
    number = 8 if fork[1] else 4
    place = 2 + number
    for _ in range(fork[0] or fork[1]):
        if place + 3 > len(fork):
            break
        size = fork[place]
        found.add(_text(fork[place + 3 : place + 3 + size]))
        place += 3 + size + volume.has_types + number
    return found


def names(run: bytes, volume: Volume) -> set[str]:
    """The names in a run of a folder's blocks."""
    found: set[str] = set()
    for start in range(0, len(run), volume.folder_block):
        found |= _block_names(run[start : start + volume.folder_block], volume)
    return found


def _block_names(block: bytes, volume: Volume) -> set[str]:
    found: set[str] = set()
    end = len(block)
    if block[:4] in (b"XD2B", b"XDB3"):  # the only block: hashes of the names are at its end
        (count,) = struct.unpack_from(">I", block, end - 8)
        end -= 8 + 8 * count
    elif block[:4] not in (b"XD2D", b"XDD3"):
        return found
    place = 64 if volume.is_checked else 16
    while place + 16 <= end:
        if block[place : place + 2] == _UNUSED:
            (length,) = struct.unpack_from(">H", block, place + 2)
        else:
            size = block[place + 8]
            found.add(_text(block[place + 9 : place + 9 + size]))
            length = (9 + size + volume.has_types + 2 + 7) & ~7
        if length < 8:
            break
        place += length
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
