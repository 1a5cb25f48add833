# SPDX-License-Identifier: Apache-2.0
"""A plan as people approve it, what waits for them, and what counts as another plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.services.imports.planning.region import (
    GA,
    JAMMY,
    NOBLE,
    codes,
    inventory_of,
    offer,
    source,
)
from webapp.services.images.keys import Key
from webapp.services.imports import plan_report
from webapp.services.imports.plan_report import PlanReport
from webapp.services.imports.planning import plan
from webapp.services.imports.plans import Inventory, SourceState

HWE = Key("ubuntu/noble", "amd64/hwe-24.04")
ALL = (offer(), offer(subarch="hwe-24.04"), offer("jammy", "ga-22.04"))


def told(
    sources: list[SourceState], known: Inventory, free: int | None = 10**9, **more: Any
) -> PlanReport:
    left_out = more.pop("left_out", {})
    return plan_report.report(plan(sources, known, **more), sources, known, free, left_out)


def orphaned(*offers: Any) -> Inventory:
    """Images of a source that was removed."""
    known = inventory_of(*offers)
    return replace(known, resources=tuple(replace(r, source_id=None) for r in known.resources))


# -- what waits for a person


def test_more_than_half_that_nobody_deselected_waits_and_goes_once_confirmed() -> None:
    other = source(ALL[2], id=2, wanted=[JAMMY])
    known = orphaned(*ALL)
    made = plan([other], known)
    assert made.retire == ()
    assert {one.key for one in made.waiting} == {GA, HWE}
    assert codes(made) == ["removal-unconfirmed"]
    assert {one.key for one in plan([other], known, {GA, HWE}).retire} == {GA, HWE}
    # Another one than was confirmed still waits.
    made = plan([other], known, {GA})
    assert [one.key for one in made.waiting] == [HWE]
    assert [one.key for one in made.retire] == [GA]


def test_half_goes_at_once_and_so_does_whatever_an_administrator_deselects() -> None:
    known = orphaned(ALL[0], ALL[2])
    made = plan([source(ALL[2], id=2, wanted=[JAMMY])], known)
    assert [one.key for one in made.retire] == [GA]
    made = plan([source(*ALL, wanted=[JAMMY])], inventory_of(*ALL))
    assert {one.key for one in made.retire} == {GA, HWE}
    assert codes(made) == []


def test_kernels_that_a_source_drops_count_as_well() -> None:
    kernels = (offer(), *(offer(subarch=f"hwe-24.04-{n}") for n in range(3)))
    made = plan([source(offer())], inventory_of(*kernels))
    assert made.retire == ()
    assert len(made.waiting) == 3


# -- the value


def test_a_plan_tells_what_is_added_replaced_kept_and_left_out_with_its_bytes() -> None:
    newer = offer(version="2")
    sources = [source(newer, ALL[1], ALL[2], offer("focal", "ga-20.04"), wanted=[NOBLE, JAMMY])]
    known = inventory_of(ALL[0], ALL[1])
    made = told(
        sources, known, left_out={1: [{"product": "x:v3:odd", "version": "9", "reason": "no root"}]}
    )
    assert [(a.kind, a.name, a.before, a.version) for a in made.actions] == [
        ("add", "ubuntu/jammy", "", "1"),
        ("replace", "ubuntu/noble", "1", "2"),
    ]
    assert [a.bytes_to_fetch for a in made.actions] == [310, 310]
    assert (made.bytes_to_fetch, made.bytes_held) == (620, 0)
    used = sum(blob.size for blob in known.blobs.values())
    assert (made.used, made.peak, made.final) == (used, used + 620, used + 620)
    assert [(one.architecture, one.why) for one in made.keep] == [
        ("amd64/hwe-24.04", "up to date with http://1/")
    ]
    assert [(one.name, one.why) for one in made.out] == [
        ("ubuntu/focal", "no selection asks for ubuntu/focal"),
        ("x:v3:odd", "left out of the catalogue: no root"),
    ]
    assert "out" not in made.as_dict()


def test_what_is_removed_counts_until_the_bin_lets_go_and_shared_bytes_stay() -> None:
    made = told([source(*ALL, wanted=[JAMMY])], inventory_of(*ALL))
    jammy = sum(item.size for item in ALL[2].items)
    assert made.peak == made.used
    assert made.final == jammy
    assert made.bytes_to_fetch == 0


def test_room_that_is_missing_is_told_in_bytes() -> None:
    sources = [source(offer())]
    assert told(sources, Inventory((), {}), free=300).lacks == 10
    assert told(sources, Inventory((), {}), free=310).lacks == 0
    assert told(sources, Inventory((), {}), free=None).lacks == 0


def test_the_digest_names_what_happens_and_nothing_else() -> None:
    one = told([source(offer())], Inventory((), {}))
    assert one.digest == told([source(offer())], Inventory((), {}), free=1).digest
    assert one.digest != told([source(offer(version="2"))], Inventory((), {})).digest
    assert one.digest != told([source(*ALL)], Inventory((), {})).digest


def test_a_plan_with_more_than_was_approved_is_another_one() -> None:
    approved = told([source(*ALL, wanted=[NOBLE, JAMMY])], Inventory((), {})).as_dict()
    fewer = told([source(ALL[0])], Inventory((), {}))
    assert plan_report.beyond(approved, fewer) == []
    newer = told([source(offer(version="2"))], Inventory((), {}))
    assert plan_report.beyond(approved, newer) == [
        "ubuntu/noble amd64/ga-24.04 would become 2 of http://1/"
    ]
    removal = told([source(*ALL, wanted=[JAMMY])], inventory_of(*ALL))
    assert len(plan_report.beyond(approved, removal)) == 2
    assert plan_report.beyond(removal.as_dict(), removal) == []


def test_a_plan_confirms_the_removals_that_wait_in_it() -> None:
    sources, known = [source(ALL[2], id=2, wanted=[JAMMY])], orphaned(*ALL)
    shown = told(sources, known)
    assert {one.architecture for one in shown.wait} == {"amd64/ga-24.04", "amd64/hwe-24.04"}
    then = told(sources, known, confirmed=plan_report.confirmed(shown.as_dict()))
    assert {one.architecture for one in then.retire} == {"amd64/ga-24.04", "amd64/hwe-24.04"}
    assert then.wait == ()
    assert then.digest == shown.digest
    assert plan_report.beyond(shown.as_dict(), then) == []
    assert plan_report.confirmed(None) == frozenset()
