# SPDX-License-Identifier: Apache-2.0
"""Planning an import: what is replaced, what goes and what stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    stored,
)
from webapp.services.images.keys import key_of
from webapp.services.imports.planning import plan
from webapp.services.imports.plans import (
    ImportPlan,
    Inventory,
    SourceState,
    StoredBlob,
    StoredResource,
)
from webapp.streams.filters import Wanted
from webapp.streams.mapping import Offer

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def holding(*resources: StoredResource) -> Inventory:
    return Inventory(resources, {})


# -- what is replaced


def test_what_is_stored_as_the_source_has_it_needs_nothing() -> None:
    made = plan([source(offer(), LOADER)], inventory_of(offer(), LOADER))
    assert made.is_empty
    assert made.blobs == ()
    assert reason(made, GA) == "up to date with http://1/"


@pytest.mark.parametrize(
    ("now", "why", "fetched"),
    [
        (offer(version="2"), "version 1 (stable) is replaced by 2", 2),
        (offer(label="daily"), "version 1 (stable) is replaced by 1", 0),
        (
            offer(
                items=[item("boot-kernel", "other"), item("squashfs", "root noble/amd64/1", 300)]
            ),
            "other files were published under version 1",
            1,
        ),
        (offer(title="Better"), "its description changed", 0),
        (offer(answers_to=("ga-24.04", "generic")), "its description changed", 0),
    ],
)
def test_a_difference_is_a_reason_to_publish_again(now: Offer, why: str, fetched: int) -> None:
    made = plan([source(now)], inventory_of(offer()))
    assert [planned.why for planned in made.sets] == [why]
    assert len(made.to_fetch) == fetched
    assert not made.retire


def test_stored_bytes_that_are_missing_are_fetched_again() -> None:
    lost = digest("root noble/amd64/1")
    before = inventory_of(offer())
    before = replace(before, blobs={**before.blobs, lost: StoredBlob(300, is_ready=False)})
    made = plan([source(offer())], before)
    assert [planned.why for planned in made.sets] == ["stored bytes are missing or damaged"]
    assert [blob.sha256 for blob in made.to_fetch] == [lost]


def test_an_image_that_moves_to_another_source_costs_no_byte() -> None:
    made = plan(
        [source(offer(), id=1), source(offer(), id=2, priority=1)],
        inventory_of(offer(), source_id=1),
    )
    assert [(s.source_id, s.why) for s in made.sets] == [(2, "its description changed")]
    assert not made.to_fetch


def test_an_uploaded_image_is_never_touched() -> None:
    mine = stored(offer(), is_uploaded=True, source_id=None)
    made = plan([source(offer(version="2"))], holding(mine))
    assert made.is_empty
    assert codes(made) == ["name-taken"]
    assert plan([], holding(mine)).is_empty
    assert plan([source(LOADER, wanted=[])], holding(mine)).retire == ()


# -- what goes and what stays


def test_what_no_selection_wants_is_deleted() -> None:
    jammy = offer("jammy", "ga-22.04")
    made = plan([source(offer(), jammy)], inventory_of(offer(), jammy))
    assert [(one.resource_id, one.why) for one in made.retire] == [(2, "no longer selected")]
    assert made.retire[0].waits_for == frozenset()


def test_what_the_source_stopped_offering_stays_while_it_is_selected() -> None:
    jammy = offer("jammy", "ga-22.04")
    made = plan([source(jammy, wanted=[NOBLE, JAMMY])], inventory_of(offer(), jammy))
    assert not made.retire
    assert made.newly_gone == (1,)
    assert reason(made, GA).startswith("no longer offered by its source")
    known = holding(stored(offer(), gone_since=LONG_AGO))
    assert plan([source(jammy, wanted=[NOBLE, JAMMY])], known).newly_gone == ()


def test_an_image_that_is_offered_again_loses_its_mark() -> None:
    held = inventory_of(offer())
    held = replace(held, resources=(replace(held.resources[0], gone_since=LONG_AGO),))
    made = plan([source(offer())], held)
    assert [planned.why for planned in made.sets] == ["the source offers it again"]


def test_an_extra_kernel_goes_when_its_release_is_still_offered_and_the_others_have_come() -> None:
    hwe = offer(subarch="hwe-24.04")
    made = plan([source(offer(version="2"))], inventory_of(offer(), hwe))
    assert [(one.resource_id, one.waits_for) for one in made.retire] == [(2, frozenset({GA}))]
    assert "dropped hwe-24.04" in made.retire[0].why


def test_the_last_chosen_kernel_stays_when_its_source_drops_it() -> None:
    hwe = offer(subarch="hwe-24.04")
    chosen = Wanted("ubuntu", "noble", subarches=("hwe-24.04",))
    made = plan([source(offer(), wanted=[chosen])], inventory_of(hwe))
    assert (made.retire, made.newly_gone) == ((), (1,))


@pytest.mark.parametrize("state", [{"is_fresh": False}, {"is_enabled": False}])
def test_a_source_that_is_not_read_takes_nothing_away(state: dict[str, bool]) -> None:
    jammy = offer("jammy", "ga-22.04")
    mine = source(wanted=[], **state)
    other = source(jammy, id=2, wanted=[JAMMY])
    made = plan([mine, other], inventory_of(offer()))
    assert not made.retire
    assert [planned.source_id for planned in made.sets] == [2]


def test_a_removed_sources_images_stay_while_a_source_that_wants_them_cannot_be_read() -> None:
    orphan = holding(stored(offer(), source_id=None))
    jammy = offer("jammy", "ga-22.04")
    reader = source(jammy, id=2, wanted=[JAMMY])
    assert [r.resource_id for r in plan([reader], orphan, {GA}).retire] == [1]
    assert plan([reader, source(id=3, is_fresh=False)], orphan).retire == ()
    assert plan([source(jammy, id=2, wanted=[NOBLE, JAMMY])], orphan).newly_gone == (1,)


def test_a_boot_loader_stays_with_its_source_and_goes_with_it() -> None:
    reader = source(offer(), id=1)
    assert plan([reader], inventory_of(offer(), LOADER)).retire == ()
    moved = holding(stored(offer()), stored(LOADER, 2, source_id=None))
    assert [one.key.name for one in plan([reader], moved).retire] == ["pxelinux/pxe"]


def test_a_stream_that_turned_empty_removes_nothing_and_says_so() -> None:
    for wanted in ([NOBLE], []):
        made = plan([source(wanted=wanted)], inventory_of(offer()))
        assert made.is_empty
        assert codes(made) == ["stream-empty"]
        assert made.refusals[0].source_id == 1


def test_a_new_source_without_images_and_selections_is_no_problem() -> None:
    assert codes(plan([source(wanted=[])], NOTHING)) == []


def test_a_run_that_would_remove_everything_and_bring_nothing_is_held_back() -> None:
    made = plan([source(offer(), wanted=[JAMMY])], inventory_of(offer()))
    assert made.is_empty
    assert codes(made) == ["import-guard"]
    made = plan(
        [source(offer(), offer("jammy", "ga-22.04"), wanted=[JAMMY])], inventory_of(offer())
    )
    assert codes(made) == []
    assert [one.resource_id for one in made.retire] == [1]


# -- whatever comes
SUBARCHES, RELEASES = ("ga-24.04", "hwe-24.04"), ("noble", "jammy")
offers_ = st.builds(
    offer,
    st.sampled_from(RELEASES),
    st.sampled_from(SUBARCHES),
    version=st.sampled_from("12"),
    label=st.sampled_from(("stable", "daily")),
)
wanted_ = st.builds(
    Wanted,
    st.just("ubuntu"),
    st.sampled_from(RELEASES),
    labels=st.sampled_from((("*",), ("stable",))),
)


@st.composite
def regions(draw: st.DrawFn) -> tuple[list[SourceState], Inventory]:
    sources = [
        source(
            *draw(st.lists(st.one_of(offers_, st.just(LOADER)), max_size=5, unique_by=_row)),
            id=number,
            wanted=draw(st.lists(wanted_, max_size=2)),
            priority=draw(st.integers(0, 1)),
            is_enabled=draw(st.sampled_from((True, True, True, False))),
            is_fresh=draw(st.sampled_from((True, True, False))),
        )
        for number in range(1, draw(st.integers(0, 3)) + 1)
    ]
    held = draw(st.lists(offers_, max_size=4, unique_by=key_of))
    resources = [
        stored(
            made,
            number,
            draw(st.sampled_from((None, 1, 2))),
            is_uploaded=draw(st.sampled_from((False, False, True))),
            gone_since=draw(st.sampled_from((None, LONG_AGO))),
        )
        for number, made in enumerate(held, 1)
    ]
    blobs = {
        i.sha256: StoredBlob(i.size, draw(st.sampled_from((True, True, False))))
        for made in held
        for i in made.items
    }
    return sources, Inventory(tuple(resources), blobs)


def _row(made: Offer) -> tuple[Any, ...]:
    return (key_of(made), made.label)


def applied(made: ImportPlan, before: Inventory) -> Inventory:
    """The inventory after everything in the plan went well."""
    after = {resource.key: resource for resource in before.resources}
    for planned in made.sets:
        number = after[planned.key].id if planned.key in after else 100 + len(after)
        after[planned.key] = stored(planned.offer, number, planned.source_id)
    gone = {one.resource_id for one in made.retire}
    resources = [
        replace(r, gone_since=LONG_AGO) if r.id in made.newly_gone else r
        for r in after.values()
        if r.id not in gone
    ]
    ready = {blob.sha256: StoredBlob(blob.size, is_ready=True) for blob in made.blobs}
    return Inventory(tuple(resources), {**before.blobs, **ready})


def test_deselecting_every_image_deletes_what_is_stored() -> None:
    made = plan([source(offer(), wanted=[])], inventory_of(offer()))
    assert codes(made) == []
    assert [one.resource_id for one in made.retire] == [1]
    unread = plan([source(offer(), wanted=[], is_fresh=False)], inventory_of(offer()))
    assert not unread.retire
    assert not plan([], inventory_of(offer())).retire


@given(regions())
@settings(max_examples=150, deadline=None)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    region: tuple[list[SourceState], Inventory],
) -> None:
    sources, before = region
    made = plan(sources, before)
    after = plan(sources, applied(made, before))
    assert not after.sets
    assert not after.blobs
    assert not after.newly_gone
    # What is left to retire is only what the guards hold back for as long as so little is there.
    assert not after.retire or {"import-guard", "removal-unconfirmed"} & set(codes(made))
    held = {one.key for one in made.waiting}
    assert not held & {one.key for one in plan(sources, applied(made, before), (), held).retire}


@given(regions())
@settings(max_examples=150, deadline=None)
def test_every_image_is_decided_once_and_nothing_is_taken_without_proof(
    region: tuple[list[SourceState], Inventory],
) -> None:
    sources, before = region
    made = plan(sources, before)
    by_id = {resource.id: resource for resource in before.resources}
    judged = {s.id for s in sources if s.is_judged}
    for one in made.retire:
        resource = by_id[one.resource_id]
        assert not resource.is_uploaded
        assert resource.source_id not in {s.id for s in sources} - judged
        assert one.why
    keys = [planned.key for planned in made.sets] + [one.key for one in made.retire]
    assert len(keys) == len(set(keys))
    # Each blob once; all that the sets need; from sources that count only.
    digests = [blob.sha256 for blob in made.blobs]
    assert len(digests) == len(set(digests))
    assert set(digests) == {d for planned in made.sets for d in planned.digests}
    assert all(place.source_id in judged for blob in made.blobs for place in blob.locations)
    assert all(planned.source_id in judged for planned in made.sets)
    if before.resources and all(not r.is_uploaded for r in before.resources):
        left = len(before.resources) - len(made.retire) + len(made.sets)
        assert left > 0 or made.is_emptied


@given(regions())
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_sources_changes_nothing(
    region: tuple[list[SourceState], Inventory],
) -> None:
    sources, before = region
    one, other = plan(sources, before), plan(sources[::-1], before)
    assert replace(one, refusals=()) == replace(other, refusals=())
    assert codes(one) == codes(other)
