# SPDX-License-Identifier: Apache-2.0
"""Which versions of an image stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.services.images import keeping
from webapp.services.images.keeping import Policy, Version

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def version(
    id: int,
    name: str = "",
    *,
    current: bool = False,
    locked: bool = False,
    stored: int = 100,
    fetched: int | None = None,
) -> Version:
    """A version; stored and fetched so many days ago."""
    return Version(
        id=id,
        version=name or f"2026010{id}",
        is_current=current,
        is_locked=locked,
        completed_at=NOW - timedelta(days=stored),
        fetched_at=None if fetched is None else NOW - timedelta(days=fetched),
    )


def test_the_newest_few_stay_with_the_current_one_among_them() -> None:
    found = [version(1), version(2), version(3, current=True)]
    assert keeping.surplus(found, Policy(2, 0), NOW) == [1]
    assert keeping.surplus(found, Policy(1, 0), NOW) == [2, 1]
    assert keeping.surplus(found, Policy(5, 0), NOW) == []


def test_after_a_roll_back_the_newest_still_stay() -> None:
    found = [version(1, current=True), version(2), version(3), version(4)]
    assert keeping.surplus(found, Policy(2, 0), NOW) == [2]


def test_versions_are_ordered_as_people_expect() -> None:
    names = ["20260101.10", "20260101.9", "20260101", "20251231"]
    found = [version(id, name) for id, name in enumerate(reversed(names), start=1)]
    verdicts = keeping.judge(found, Policy(1, 0), NOW)
    assert list(verdicts) == [4, 3, 2, 1]


def test_one_that_stepped_aside_is_older_than_what_took_its_place() -> None:
    assert keeping.order("20260101~7", 7) < keeping.order("20260101", 9)
    assert keeping.order("20260101~7", 7) > keeping.order("20251231", 8)


@pytest.mark.parametrize(
    ("stored", "fetched", "is_kept"),
    [(9, None, True), (11, None, False), (50, 9, True), (50, 11, False), (9, 20, True)],
)
def test_a_version_that_was_used_lately_stays(
    stored: int, fetched: int | None, is_kept: bool
) -> None:
    found = [version(1, stored=stored, fetched=fetched), version(2, current=True)]
    verdict = keeping.judge(found, Policy(1, 10), NOW)[1]
    assert verdict.is_kept == is_kept
    if is_kept:
        used = min(stored, fetched if fetched is not None else stored)
        assert verdict.until == NOW + timedelta(days=10 - used)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=8),
    st.integers(1, 4),
    st.integers(0, 30),
    st.integers(0, 7),
)
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
def test_the_current_and_locked_ones_are_never_surplus_and_enough_are_left(
    rows: list[tuple[bool, int]], count: int, days: int, current: int
) -> None:
    found = [
        version(id, current=id == current, locked=locked, stored=stored)
        for id, (locked, stored) in enumerate(rows)
    ]
    surplus = keeping.surplus(found, Policy(count, days), NOW)
    left = [one for one in found if one.id not in surplus]
    assert len(left) >= min(count, len(found))
    assert {one.id for one in found if one.is_current or one.is_locked} <= {o.id for o in left}
    assert not keeping.surplus(left, Policy(count, days), NOW)
