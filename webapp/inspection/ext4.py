# SPDX-License-Identifier: Apache-2.0
"""Just enough of ext2, ext3 and ext4 to read the names in the root folder.

Source: the kernel's Documentation/filesystems/ext4 (super block, group
descriptors, inodes, extents, linear directories).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SUPER = 1024  # where the super block is, and its size
_ROOT = 2
_64BIT = 0x80
_EXTENTS = 0x80000
_INLINE = 0x10000000
_MAX_FOLDER_BYTES = 1 << 20  # bytes


@dataclass(frozen=True)
class Volume:
    """Sizes and places in bytes, from the partition's start."""

    block: int
    inode: int
    groups: int
    is_wide: bool


def read_volume(block: bytes) -> Volume | None:
    """The layout in a super block; None when it belongs to another file system."""
    if len(block) < SUPER or block[56:58] != b"\x53\xef":
        return None
    first, power = struct.unpack_from("<II", block, 20)
    revision, incompatible = (struct.unpack_from("<I", block, at)[0] for at in (76, 96))
    inode = struct.unpack_from("<H", block, 88)[0] if revision else 128
    (descriptor,) = struct.unpack_from("<H", block, 254)
    if power > 6 or inode not in (128, 256, 512, 1024, 2048, 4096) or first > 1:
        return None
    size = 1024 << power
    is_wide = bool(incompatible & _64BIT) and descriptor >= 64
    return Volume(size, inode, (first + 1) * size, is_wide)


def root_inode(group: bytes, volume: Volume) -> int:
    """Where the root folder's inode is. group: the first 64 bytes of the group descriptors."""
    (table,) = struct.unpack_from("<I", group, 8)
    if volume.is_wide:
        table |= struct.unpack_from("<I", group, 0x28)[0] << 32
    return int(table * volume.block + (_ROOT - 1) * volume.inode)


def folder_runs(inode: bytes, volume: Volume) -> list[tuple[int, int]]:
    """Where a folder's blocks lie: (place, size). Empty when that is invalid here."""
    (mode,) = struct.unpack_from("<H", inode, 0)
    (flags,) = struct.unpack_from("<I", inode, 32)
    if mode >> 12 != 4 or flags & _INLINE:
        return []
    runs = []
    if not flags & _EXTENTS:
        places = [place for place in struct.unpack_from("<12I", inode, 40) if place]
        runs = [(place * volume.block, volume.block) for place in places]
    else:
        magic, count, _, depth = struct.unpack_from("<HHHH", inode, 40)
        if magic != 0xF30A or depth or count > 4:
            return []
        for number in range(count):
            _, blocks, high, low = struct.unpack_from("<IHHI", inode, 52 + 12 * number)
            runs.append(((high << 32 | low) * volume.block, blocks * volume.block))
    return runs if 0 < sum(size for _, size in runs) <= _MAX_FOLDER_BYTES else []


def names(blocks: bytes) -> set[str]:
    """The names in a folder's blocks."""
    found = set()
    place = 0
    while place + 8 <= len(blocks):
        inode, length, size = struct.unpack_from("<IHB", blocks, place)
        if length < 8:
            break
        if inode:
            found.add(blocks[place + 8 : place + 8 + size].decode("utf-8", "replace"))
        place += length
    return found
