# SPDX-License-Identifier: Apache-2.0
"""Who offers an image, who provides it, and why."""

from __future__ import annotations

import pytest

from tests.unit.services.imports.planning.region import GA, NOTHING, offer, source, stored
from webapp.services.imports.offers import Contest, contests
from webapp.services.imports.planning import plan
from webapp.services.imports.plans import Inventory, SourceState

OLD, NEW = offer(version="1"), offer(version="2")
LOW, HIGH = "priority 1 is lower than 5", "priority 5 is higher than 1"


def only(*sources: SourceState, known: Inventory = NOTHING) -> Contest:
    (found,) = contests(sources, known)
    assert found.key == GA
    return found


@pytest.mark.parametrize(
    ("first", "second", "winner", "whys"),
    [
        ({"priority": 1}, {"priority": 5}, 2, {1: LOW, 2: HIGH}),
        ({}, {}, 1, {1: "same priority, added first", 2: "same priority, added later"}),
        (
            {"wanted": ()},
            {},
            2,
            {1: "not selected from this source", 2: "the only source that it's selected from"},
        ),
        (
            {"priority": 5, "is_enabled": False},
            {},
            2,
            {1: "the source is disabled", 2: "the only source that it's selected from"},
        ),
        (
            {"priority": 5, "is_fresh": False},
            {},
            2,
            {1: "the source can't be read, or is empty", 2: "http://1/ can't be read"},
        ),
        (
            {"wanted": ()},
            {"wanted": ()},
            0,
            {1: "not selected from this source", 2: "not selected from this source"},
        ),
    ],
    ids=["priority", "age", "selection", "disabled", "unread", "nobody"],
)
def test_the_winner_is_the_one_that_the_plan_fetches_from(
    first: dict[str, object], second: dict[str, object], winner: int, whys: dict[int, str]
) -> None:
    sources = [source(OLD, id=1, **first), source(NEW, id=2, **second)]  # type: ignore[arg-type]
    found = only(*sources)
    assert {one.source_id: one.why for one in found.contenders} == whys
    assert [one.source_id for one in found.contenders if one.is_winner] == (
        [winner] if winner else []
    )
    assert [one.source_id for one in plan(sources, NOTHING).sets] == ([winner] if winner else [])
    assert found.is_contested


def test_a_stored_image_stays_while_its_better_source_cannot_be_read() -> None:
    known = Inventory((stored(OLD, source_id=1),), {})
    sources = [source(OLD, id=1, priority=5, is_fresh=False), source(NEW, id=2)]
    found = only(*sources, known=known)
    assert not any(one.is_winner for one in found.contenders)
    assert found.contenders[1].why == "http://1/ can't be read, so the image stays as it is"
    assert found.stored_version == "1"
    assert plan(sources, known).sets == ()


def test_each_source_shows_its_newest_version() -> None:
    found = only(source(NEW, OLD, wanted=()))
    assert [one.version for one in found.contenders] == ["2"]
    assert not found.is_contested
