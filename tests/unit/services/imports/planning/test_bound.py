# SPDX-License-Identifier: Apache-2.0
"""An image that is bound to one source: no other provides it, and nothing removes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.services.imports.planning.region import (
    GA,
    JAMMY,
    inventory_of,
    offer,
    source,
)
from webapp.services.imports.offers import bound_images, contests
from webapp.services.imports.planning import plan
from webapp.services.imports.plans import Inventory, SourceState
from webapp.services.sources.steps import Binding

OLD, NEW = offer(version="1"), offer(version="2")
JAMMY_OFFER = offer("jammy")
LINE = ("ubuntu", "noble", "amd64")
STORED = inventory_of(OLD, source_id=2)


def bound(known: Inventory = STORED, source_id: int | None = 2) -> Inventory:
    return replace(known, bindings={LINE: Binding(source_id, "lab")})


def test_the_bound_source_wins_over_a_higher_priority() -> None:
    high, low = source(NEW, id=1, priority=9), source(OLD, id=2)
    assert [one.source_id for one in plan([high, low], STORED).sets] == [1]
    found = plan([high, low], bound())
    assert not found.sets
    assert [one.why for one in found.untouched] == ["up to date with http://2/; bound to http://2/"]


def test_a_bound_image_moves_to_its_source_and_the_plan_says_why() -> None:
    high, low = source(NEW, id=1, priority=9), source(OLD, id=2, name="lab")
    known = bound(inventory_of(NEW, source_id=1))
    (moving,) = plan([high, low], known).sets
    assert (moving.source_id, moving.why) == (
        2,
        "version 2 (stable) is replaced by 1; bound to lab",
    )


@pytest.mark.parametrize(
    ("own", "source_id", "why"),
    [
        (source(OLD, id=2, is_enabled=False, name="lab"), 2, "bound to lab, which is disabled"),
        (source(OLD, id=2, is_fresh=False, name="lab"), 2, "bound to lab, which can't be read"),
        (source(offer("jammy"), id=2, name="lab"), 2, "bound to lab, which doesn't offer it"),
        (None, None, "bound to lab, which was removed"),
    ],
    ids=["disabled", "unread", "dropped", "removed"],
)
@pytest.mark.parametrize("is_elsewhere", [True, False], ids=["offered elsewhere", "nowhere else"])
def test_nothing_switches_when_the_bound_source_cannot_provide_the_image(
    own: SourceState | None, source_id: int | None, why: str, is_elsewhere: bool
) -> None:
    other = source(NEW if is_elsewhere else offer("jammy"), id=1, priority=9)
    found = plan([one for one in (other, own) if one], bound(source_id=source_id))
    assert not [one for one in found.sets if one.key == GA]
    assert not found.retire
    (left,) = [one for one in found.untouched if one.key == GA]
    if not is_elsewhere and "doesn't offer" in why:
        why = "bound to lab, which no longer offers it"
    assert left.why.startswith(why)


def test_a_bound_image_that_is_not_stored_waits_for_its_source() -> None:
    high, low = source(NEW, id=1, priority=9), source(OLD, id=2, is_enabled=False, name="lab")
    found = plan([high, low], bound(Inventory((), {})))
    assert not found.sets
    assert [(one.key, one.resource_id) for one in found.untouched] == [(GA, None)]


def test_a_bound_image_that_is_deselected_at_its_source_alone_stays() -> None:
    found = plan([source(NEW, id=1), source(OLD, id=2, wanted=(), name="lab")], bound())
    assert not found.sets
    assert [one.why for one in found.untouched] == [
        "bound to lab, which doesn't offer it as selected; select it there, or unbind it"
    ]


def test_a_bound_image_that_is_deselected_everywhere_is_removed() -> None:
    sources = [source(NEW, id=1, wanted=()), source(OLD, JAMMY_OFFER, id=2, wanted=[JAMMY])]
    known = bound(inventory_of(OLD, JAMMY_OFFER, source_id=2))
    assert [one.key for one in plan(sources, known).retire] == [GA]


def test_a_kernel_that_the_bound_source_drops_is_removed_as_usual() -> None:
    hwe = offer(subarch="hwe-24.04")
    known = bound(inventory_of(OLD, hwe, source_id=2))
    found = plan([source(OLD, id=2)], known)
    assert [one.key for one in found.retire] == [hwe and known.resources[1].key]


def test_the_comparison_shows_the_binding() -> None:
    high, low = source(NEW, id=1, priority=9), source(OLD, id=2, name="lab")
    (contest,) = contests([high, low], bound())
    assert contest.bound_to == "lab"
    assert {one.source_id: (one.is_winner, one.why) for one in contest.contenders} == {
        1: (False, "the image is bound to lab"),
        2: (True, "bound to this source"),
    }
    assert [one.trouble for one in bound_images([high, low], bound())] == [""]
    off = [high, replace(low, is_enabled=False)]
    (contest,) = contests(off, bound())
    assert not any(one.is_winner for one in contest.contenders)
    (image,) = bound_images(off, bound())
    assert image.trouble.startswith("bound to lab, which is disabled; enable that source")
