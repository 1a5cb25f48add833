# SPDX-License-Identifier: Apache-2.0
"""Planning an import: what is fetched, from where, and which source wins an image."""

from __future__ import annotations

from typing import Any

from tests.unit.services.imports.planning.region import (
    GA,
    JAMMY,
    LOADER,
    NOBLE,
    NOTHING,
    codes,
    digest,
    inventory_of,
    item,
    offer,
    reason,
    source,
)
from webapp.services.imports.planning import plan
from webapp.services.imports.plans import (
    Inventory,
    Location,
    SourceState,
    StoredBlob,
)

# -- what is fetched


def test_what_a_selection_asks_for_is_fetched_and_nothing_else() -> None:
    made = plan([source(offer(), offer("jammy", "ga-22.04"))], NOTHING)
    assert [planned.key for planned in made.sets] == [GA]
    assert made.sets[0].why == "the selection ubuntu/noble asks for it"
    assert [(blob.filename, blob.size) for blob in made.blobs] == [
        ("squashfs", 300),
        ("boot-kernel", 10),
    ]
    assert (made.bytes_total, made.bytes_needed, made.wanted) == (310, 310, 1)


def test_boot_loaders_come_along_first_and_without_a_selection() -> None:
    made = plan([source(offer(), LOADER, wanted=[])], NOTHING)
    assert [planned.key.name for planned in made.sets] == ["pxelinux/pxe"]
    made = plan([source(offer(), LOADER)], NOTHING)
    assert [planned.key.name for planned in made.sets] == ["pxelinux/pxe", "ubuntu/noble"]


def test_a_digest_is_fetched_once_for_all_images_and_sources() -> None:
    shared = item("squashfs", "the root", 300)
    offers = [
        offer(subarch="ga-24.04", items=[shared, item("boot-kernel", "ga")]),
        offer(subarch="hwe-24.04", items=[shared, item("boot-kernel", "hwe")]),
    ]
    made = plan([source(*offers)], NOTHING)
    assert len(made.sets) == 2
    assert [blob.sha256 for blob in made.blobs].count(shared.sha256) == 1
    assert made.bytes_total == 300 + 10 + 10


def test_every_readable_source_that_has_the_bytes_is_a_place_to_get_them() -> None:
    def mirror(number: int, **fields: Any) -> SourceState:
        return source(
            offer(items=[item("squashfs", "root", path=f"{number}/root")]), id=number, **fields
        )

    sources = [
        mirror(1),
        mirror(2, wanted=[]),
        mirror(3, is_fresh=False),
        mirror(4, is_enabled=False),
        mirror(5, priority=-1),
    ]
    made = plan(sources, NOTHING)
    assert made.blobs[0].locations == (
        Location(1, "1/root"),
        Location(2, "2/root"),
        Location(5, "5/root"),
    )


def test_the_same_digest_with_another_size_is_no_place_to_get_it() -> None:
    first = source(offer(items=[item("squashfs", "root", 300)]))
    liar = source(offer(items=[item("squashfs", "root", 7)]), id=2, wanted=[])
    assert plan([first, liar], NOTHING).blobs[0].locations == (Location(1, "p/root"),)


def test_an_image_whose_size_contradicts_known_bytes_is_refused_and_the_others_continue() -> None:
    good = offer("jammy", "ga-22.04", items=[item("squashfs", "root", 300)])
    bad = offer(items=[item("squashfs", "root", 7)])
    made = plan([source(good, bad, wanted=[NOBLE, JAMMY])], NOTHING)
    assert [planned.key.name for planned in made.sets] == ["ubuntu/jammy"]
    assert codes(made) == ["size-conflict"]
    assert made.refusals[0].key == GA
    known = {digest("root"): StoredBlob(300, is_ready=True)}
    made = plan([source(bad)], Inventory((), known))
    assert codes(made) == ["size-conflict"]
    assert not made.sets


def test_parts_and_whole_blobs_that_are_there_are_not_fetched_again() -> None:
    made_offer = offer()
    root, kernel = digest("root noble/amd64/1"), digest("kernel noble/amd64/ga-24.04/1")
    known = {root: StoredBlob(300, False, received=100), kernel: StoredBlob(10, True)}
    made = plan([source(made_offer)], Inventory((), known))
    assert [blob.sha256 for blob in made.to_fetch] == [root]
    assert {blob.sha256 for blob in made.blobs} == {root, kernel}
    assert (made.bytes_total, made.bytes_needed) == (300, 200)


# -- who wins an image


def test_the_higher_priority_wins_then_the_older_source() -> None:
    def winner(*sources: SourceState) -> int:
        return plan(sources, NOTHING).sets[0].source_id

    low, high = source(offer(), id=1), source(offer(version="0"), id=2, priority=5)
    assert winner(low, high) == 2
    assert winner(source(offer(), id=2), source(offer(), id=1)) == 1


def test_in_one_source_the_newest_version_wins_whatever_its_label() -> None:
    offers = [
        offer(version="20260105.9", label="daily"),
        offer(version="20260105.10", label="candidate"),
    ]
    made = plan([source(*offers)], NOTHING)
    assert [planned.offer.version for planned in made.sets] == ["20260105.10"]


def test_only_what_a_selection_of_that_very_source_asks_for_counts() -> None:
    unselected = source(offer(version="2"), id=1, priority=9, wanted=[])
    selected = source(offer(version="1"), id=2)
    made = plan([unselected, selected], NOTHING)
    assert [(s.source_id, s.offer.version) for s in made.sets] == [(2, "1")]


def test_an_image_stays_with_its_source_while_that_one_cannot_be_read() -> None:
    best = source(offer(version="2"), id=1, priority=9, is_fresh=False)
    other = source(offer(version="3"), id=2)
    made = plan([best, other], inventory_of(offer(version="1"), source_id=1))
    assert made.is_empty
    assert reason(made, GA) == "its source can't be read"


def test_an_image_that_is_not_stored_is_taken_from_the_next_source_that_can_be_read() -> None:
    best = source(offer(version="2"), id=1, priority=9, is_fresh=False)
    other = source(offer(version="3"), id=2)
    assert [s.source_id for s in plan([best, other], NOTHING).sets] == [2]
    assert plan([best], NOTHING).sets == ()


def test_an_image_continues_with_its_second_source_while_the_first_is_down() -> None:
    best = source(offer(version="2"), id=1, priority=9, is_fresh=False)
    other = source(offer(version="3"), id=2)
    made = plan([best, other], inventory_of(offer(version="1"), source_id=2))
    assert [(s.source_id, s.offer.version) for s in made.sets] == [(2, "3")]
