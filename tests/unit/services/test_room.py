# SPDX-License-Identifier: Apache-2.0
"""What takes the room is divided by what names it."""

from __future__ import annotations

import pytest

from webapp.services.overview import room
from webapp.services.overview.room import Share, Use

NOBLE, JAMMY = ("ubuntu", "noble", "amd64"), ("ubuntu", "jammy", "amd64")


def use(blob_id: int, image: tuple[str, str, str] = NOBLE, **values: bool) -> Use:
    known = {"is_current": False, "is_uploaded": False, "is_in_bin": False}
    return Use(blob_id, image, **{**known, **values})


@pytest.mark.parametrize(
    ("uses", "share"),
    [
        ([], Share.UNUSED),
        ([use(1, is_current=True), use(1)], Share.CURRENT),
        ([use(1, is_current=True), use(1, is_current=True)], Share.CURRENT),
        ([use(1, is_current=True), use(1, JAMMY, is_current=True)], Share.SHARED),
        ([use(1, is_current=True), use(1, JAMMY, is_in_bin=True)], Share.CURRENT),
        ([use(1), use(1, JAMMY)], Share.OLDER),
        ([use(1), use(1, JAMMY, is_in_bin=True)], Share.OLDER),
        ([use(1, is_in_bin=True)], Share.BIN),
        ([use(1, is_current=True, is_uploaded=True)], Share.UPLOADED),
        ([use(1, is_uploaded=True)], Share.OLDER),
        ([use(2, is_current=True)], Share.UNUSED),
    ],
)
def test_each_byte_has_one_reason(uses: list[Use], share: Share) -> None:
    found = room.divide({1: 5}, uses)
    assert {name: size for name, size in found.shares.items() if size} == {share: 5}
    assert found.total == 5


def test_deleting_an_image_frees_what_nothing_else_names() -> None:
    uses = [
        use(1, is_current=True),
        use(2, is_current=True),
        use(2, JAMMY, is_current=True),
        use(3),
        use(4, is_current=True),
        use(4, ("ubuntu", "focal", "amd64"), is_in_bin=True),
        use(5, JAMMY, is_current=True),
    ]
    found = room.divide({1: 100, 2: 10, 3: 1000, 4: 1, 5: 7}, uses)
    noble, jammy = found.images
    assert (noble.release, noble.frees, noble.shared) == ("noble", 1100, 11)
    assert (noble.current, noble.older) == (111, 1000)
    assert (jammy.release, jammy.frees, jammy.shared) == ("jammy", 7, 10)


def test_an_empty_store_takes_no_room() -> None:
    assert room.divide({}, []).total == 0
