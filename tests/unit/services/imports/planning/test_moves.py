# SPDX-License-Identifier: Apache-2.0
"""Which images a change of sources moves, and for how many bytes."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.services.imports.planning.region import (
    NOBLE,
    NOTHING,
    inventory_of,
    offer,
    source,
)
from webapp.services.imports.moves import Move, Moves, applied, compare, without
from webapp.services.imports.plans import Inventory, SourceState
from webapp.services.sources.steps import ARCHES, BINDING, ENABLED, PRIORITY, Step

OLD, NEW = offer(version="1"), offer(version="2")
LOW, HIGH = source(OLD, id=1, name="low"), source(NEW, id=2, priority=1, name="high")
ON_LOW = inventory_of(OLD, source_id=1)
BOTH = replace(ON_LOW, blobs={**ON_LOW.blobs, **inventory_of(NEW).blobs})


def moved(
    *steps: Step, known: Inventory = ON_LOW, sources: tuple[SourceState, ...] = (LOW, HIGH)
) -> Moves:
    states, after = applied(steps, sources, known)
    return compare(sources, states, known, after)


def test_a_higher_priority_moves_the_image_and_says_what_has_to_be_fetched() -> None:
    low = replace(LOW, priority=5)
    found = moved(Step(PRIORITY, 1, 9, 2), sources=(low, HIGH))
    assert found.moves == (
        Move("move", "ubuntu/noble", "amd64/ga-24.04", "low", "1", "high", "2", 310, 310,
             "version 1 (stable) is replaced by 2"),
    )  # fmt: skip
    assert found.bytes_to_fetch == 310


def test_bytes_that_are_still_held_are_not_fetched_again() -> None:
    found = moved(Step(PRIORITY, 1, 9, 2), sources=(replace(LOW, priority=5), HIGH), known=BOTH)
    assert (found.moves[0].bytes, found.bytes_to_fetch) == (310, 0)


def test_a_change_that_decides_nothing_moves_nothing() -> None:
    assert moved(Step(PRIORITY, 1, 7, 2)).moves == ()


def test_a_source_that_is_disabled_leaves_its_images_and_says_so() -> None:
    found = moved(Step(ENABLED, True, False, 1), sources=(LOW,))
    assert [(one.kind, one.why) for one in found.moves] == [("stay", "its source is disabled")]
    assert found.changed == ()


def test_an_image_that_was_not_stored_is_added_from_the_source_that_is_enabled() -> None:
    high = replace(HIGH, is_enabled=False)
    found = moved(Step(ENABLED, False, True, 2), sources=(high,), known=NOTHING)
    assert [(one.kind, one.source_before, one.source) for one in found.moves] == [
        ("add", "", "high")
    ]


def test_a_binding_moves_one_image_and_selects_it_at_its_source() -> None:
    jammy = offer("jammy")
    low = source(OLD, jammy, id=1, name="low", wanted=())
    line = ("ubuntu", "noble", "amd64")
    found = moved(
        Step(BINDING, None, {"source_id": 1, "source_name": "low"}, 0, *line),
        Step(ARCHES, None, ["amd64"], 1, "ubuntu", "noble"),
        sources=(low, HIGH),
        known=inventory_of(NEW, source_id=2),
    )
    assert [(one.source_before, one.source, one.version) for one in found.moves] == [
        ("high", "low", "1")
    ]
    assert found.moves[0].why.endswith("; bound to low")


def test_what_a_rule_selects_stays_when_a_selection_beside_it_goes() -> None:
    by_rule = replace(NOBLE, rule="Newest LTS")
    low = source(OLD, wanted=(by_rule, NOBLE), name="low")
    gone = Step(ARCHES, ["*"], None, 1, "ubuntu", "noble")
    states, _ = applied([gone], [low], ON_LOW)
    assert states[0].wanted == (by_rule,)
    assert moved(gone, sources=(low,)).moves == ()
    states, _ = applied([gone.reverse], states, ON_LOW)
    assert states[0].wanted == (by_rule, NOBLE)


def test_undoing_steps_in_reverse_moves_everything_back() -> None:
    step = Step(PRIORITY, 1, 9, 2)
    states, after = applied([step, step.reverse], (LOW, HIGH), ON_LOW)
    assert (tuple(states), after) == ((LOW, HIGH), ON_LOW)


def test_removing_a_source_moves_its_images_to_the_next_one_or_to_the_bin() -> None:
    jammy = offer("jammy")
    own = source(OLD, jammy, id=1, wanted=[*LOW.wanted, *HIGH.wanted], priority=9, name="low")
    own = replace(own, wanted=(*LOW.wanted, replace(LOW.wanted[0], release="jammy")))
    known = inventory_of(OLD, jammy, source_id=1)
    found = compare([own, HIGH], [HIGH], known, without(1, known))
    assert {(one.name, one.kind) for one in found.moves} == {
        ("ubuntu/noble", "move"),
        ("ubuntu/jammy", "remove"),
    }


def test_removing_the_only_source_keeps_what_is_stored() -> None:
    found = compare([LOW], [], ON_LOW, without(1, ON_LOW))
    assert [(one.kind, one.why) for one in found.moves] == [
        ("stay", "kept, since no image would be left")
    ]
