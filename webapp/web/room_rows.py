# SPDX-License-Identifier: Apache-2.0
"""What takes the room, as the page Storage draws and lists it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webapp.services.overview.room import ImageRoom, Room, Share

KINDS = {"filesystem": "Files", "database": "Database", "s3": "S3 bucket"}
LEAST = 4  # thousandths of the bar, so that each part can be seen
WORDS = {
    Share.CURRENT: ("Current versions", "Named by one image only"),
    Share.SHARED: ("Shared", "Named by several images, stored once"),
    Share.OLDER: ("Older versions", "Kept to roll back to, or for machines that still boot them"),
    Share.UPLOADED: ("Uploaded images", "Your own images"),
    Share.BIN: ("Bin", "Freed when the bin is emptied"),
    Share.UNUSED: ("Unused", "Deleted by the next clean-up"),
    Share.DAMAGED: ("Damaged", "Not served"),
    Share.UNFINISHED: ("Partial downloads", "Continued by the next import"),
}


@dataclass(frozen=True)
class ShareRow:
    """A part of the bar and its line; x and width in thousandths, number as in the picture."""

    number: int
    words: str
    note: str
    size: int
    percent: str
    x: int
    width: int


@dataclass(frozen=True)
class RoomRow:
    """An image, and the thousandths of the largest that deleting it frees."""

    image: ImageRoom
    name: str
    link: dict[str, str]
    width: int


def share_rows(room: Room) -> list[ShareRow]:
    """What there is, in the order of the bar."""
    found: list[ShareRow] = []
    there = [(share, size) for share in WORDS if (size := room.shares.get(share, 0))]
    total, x, before = room.total, 0, 0
    for number, (share, size) in enumerate(there, 1):
        before += size
        end = LEAST * number + round((1000 - LEAST * len(there)) * before / total)
        percent = f"{100 * size / total:.0f} %" if size * 100 >= total else "under 1 %"
        found.append(ShareRow(number, *WORDS[share], size, percent, x, end - x))
        x = end
    return found


def room_rows(images: Sequence[ImageRoom]) -> list[RoomRow]:
    """Each image with its bar."""
    most = max((one.frees for one in images), default=0) or 1
    return [
        RoomRow(
            image=one,
            name=f"{one.os}/{one.release}" if one.os else one.release,
            link={"os": one.os or "custom", "release": one.release, "arch": one.arch},
            width=round(1000 * one.frees / most),
        )
        for one in images
    ]
