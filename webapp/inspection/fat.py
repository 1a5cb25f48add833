# SPDX-License-Identifier: Apache-2.0
"""Just enough of FAT to find a name in a folder and the first bytes of a file.

Source: Microsoft's FAT specification 1.03 (boot sector, directory entries, cluster numbers).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ENTRY = 32
_MAX_ROOT_BYTES = 64 << 10


@dataclass(frozen=True)
class Volume:
    """Where things are, in bytes from the start of the partition."""

    root_first: int
    root_size: int
    data_first: int
    cluster: int

    def place_of(self, cluster: int) -> int:
        """Where a cluster begins."""
        return self.data_first + (cluster - 2) * self.cluster


@dataclass(frozen=True)
class Entry:
    """A name in a folder, in lower case; the long one if there is one."""

    name: str
    is_folder: bool
    cluster: int
    size: int


def read_volume(boot: bytes) -> Volume | None:
    """The layout in a boot sector; None when it isn't FAT's."""
    if len(boot) < 512 or boot[510:512] != b"\x55\xaa":
        return None
    sector, per_cluster, reserved, fats, roots = struct.unpack_from("<HBHBH", boot, 11)
    (small,) = struct.unpack_from("<H", boot, 22)
    (large,) = struct.unpack_from("<I", boot, 36)
    length = small or large
    if sector not in (512, 1024, 2048, 4096) or not per_cluster or fats not in (1, 2):
        return None
    if not 0 < length < (1 << 22):
        return None
    root_first = (reserved + fats * length) * sector
    root_size = roots * _ENTRY
    data_first = root_first + -(-root_size // sector) * sector
    cluster = per_cluster * sector
    if not roots:  # FAT32: the root is a file like any other
        (first,) = struct.unpack_from("<I", boot, 44)
        if not 2 <= first < (1 << 28):
            return None
        return Volume(data_first + (first - 2) * cluster, cluster, data_first, cluster)
    return Volume(root_first, min(root_size, _MAX_ROOT_BYTES), data_first, cluster)


def read_folder(data: bytes) -> list[Entry]:
    """The entries of a folder's bytes, up to its end."""
    found, long_name = [], ""
    for start in range(0, len(data) - _ENTRY + 1, _ENTRY):
        entry = data[start : start + _ENTRY]
        if entry[0] == 0:
            break
        attributes = entry[11]
        if entry[0] == 0xE5:
            long_name = ""
        elif attributes == 0x0F:
            part = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "ignore")
            long_name = part.split("\0")[0].replace("\uffff", "") + long_name
        elif not attributes & 0x08:
            stem = entry[:8].decode("latin-1").rstrip()
            extension = entry[8:11].decode("latin-1").rstrip()
            short = f"{stem}.{extension}" if extension else stem
            high, low, size = struct.unpack_from("<H4xHI", entry, 20)
            found.append(
                Entry(
                    (long_name or short).lower(),
                    bool(attributes & 0x10),
                    (high << 16) | low,
                    size,
                )
            )
            long_name = ""
        else:
            long_name = ""
    return found
