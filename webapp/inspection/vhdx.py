# SPDX-License-Identifier: Apache-2.0
"""How large the disk in a VHDX file is (Microsoft, MS-VHDX 2.2.3 and 2.6)."""

from __future__ import annotations

from uuid import UUID

HEAD = 8 << 20  # bytes within which the metadata of real files begins
_REGIONS = 192 << 10
_METADATA = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
_SIZE = UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8").bytes_le
_ENTRY, _MAX_ENTRIES = 32, 2047


def size(head: bytes | bytearray) -> int:
    """Bytes of the disk, by the first bytes of the file; 0 when they don't show it."""
    if head[_REGIONS : _REGIONS + 4] != b"regi":
        return 0
    place = _value(head, _REGIONS + 16, _number(head, _REGIONS + 8, 4), _METADATA, 8)
    if not place or head[place : place + 8] != b"metadata":
        return 0
    item = _value(head, place + 32, _number(head, place + 10, 2), _SIZE, 4)
    return _number(head, place + item, 8) if item and place + item + 8 <= len(head) else 0


def _value(head: bytes | bytearray, place: int, count: int, name: bytes, width: int) -> int:
    """The number behind a name in a table."""
    for at in range(place, place + min(count, _MAX_ENTRIES) * _ENTRY, _ENTRY):
        if head[at : at + 16] == name:
            return _number(head, at + 16, width)
    return 0


def _number(head: bytes | bytearray, place: int, width: int) -> int:
    return int.from_bytes(head[place : place + width], "little")
