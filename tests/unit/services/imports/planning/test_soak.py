# SPDX-License-Identifier: Apache-2.0
"""Soak times: the newest version that is old enough is imported (rule: soak-time)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.services.imports.planning.region import (
    GA,
    NOTHING,
    inventory_of,
    offer,
    reason,
    source,
    stored,
)
from webapp.services.imports.planning import plan
from webapp.services.imports.plans import Inventory, SourceState
from webapp.services.sources import soaking
from webapp.services.sources.soaking import Hold, Soak
from webapp.streams.mapping import Offer
from webapp.streams.offers import Build

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TODAY, WEEK, MONTH = "20261129", "20261122", "20261030"


def versions(*names: str) -> Offer:
    """Noble's kernel in these versions, newest first."""
    newest, *older = (offer(version=name, product="noble") for name in names)
    return replace(newest, older=tuple(Build(one.version, one.items) for one in older))


WEEKLY = Soak(NOW, 7)


def soaked(*names: str, soak: Soak = WEEKLY) -> SourceState:
    return replace(source(versions(*names)), soak=soak)


def test_the_newest_version_that_is_old_enough_is_imported() -> None:
    made = plan([soaked(TODAY, "20261123", WEEK, MONTH)], NOTHING)
    assert [one.offer.version for one in made.sets] == [WEEK]
    assert {blob.version for blob in made.blobs} == {WEEK}
    assert made.sets[0].why.endswith(
        f"; {TODAY} isn't 7 days old yet; {TODAY} will be on 2026-12-06"
    )


def test_without_a_soak_time_the_newest_version_is_imported() -> None:
    assert plan([soaked(TODAY, WEEK, soak=Soak(NOW, 0))], NOTHING).sets[0].offer.version == TODAY


def test_the_first_import_waits_while_all_versions_are_too_young() -> None:
    made = plan([soaked(TODAY, "20261128", "20261127.1")], NOTHING)
    assert (made.sets, made.blobs, made.retire) == ((), (), ())
    [waiting] = made.untouched
    assert waiting.resource_id is None
    assert waiting.hold == Hold("20261127.1", date(2026, 12, 4), 7, is_first=True)
    assert waiting.why == "no version is 7 days old yet; 20261127.1 will be on 2026-12-04"


def test_a_stored_newer_version_stays_and_is_repaired() -> None:
    region = inventory_of(versions("20261128"))
    made = plan([soaked(TODAY, "20261128", WEEK)], region)
    assert (made.sets, made.retire) == ((), ())
    assert reason(made, GA).startswith("up to date with ")
    broken = replace(region, blobs={})
    [again] = plan([soaked(TODAY, "20261128", WEEK)], broken).sets
    assert again.offer.version == "20261128"


def test_a_stored_version_that_was_withdrawn_stays_until_a_newer_one_is_old_enough() -> None:
    region = inventory_of(versions("20261125"))
    made = plan([soaked(TODAY, WEEK)], region)
    assert (made.sets, made.retire) == ((), ())
    assert reason(made, GA).startswith("20261125 stays: 20261129 isn't 7 days old yet")
    # As ever, what the publisher replaced by an older one is replaced.
    assert plan([soaked(WEEK)], region).sets[0].offer.version == WEEK


def test_a_stored_image_isnt_removed_while_all_versions_are_too_young() -> None:
    made = plan([soaked(TODAY)], inventory_of(versions(MONTH)))
    assert (made.sets, made.retire) == ((), ())
    assert (
        reason(made, GA)
        == f"{MONTH} stays: no version is 7 days old yet; {TODAY} will be on 2026-12-06"
    )


def test_a_pin_wins() -> None:
    pinned = stored(versions(MONTH), is_pinned=True)
    made = plan([soaked(TODAY, WEEK, MONTH)], Inventory((pinned,), {}))
    assert made.sets == ()
    assert reason(made, GA) == f"pinned to {MONTH}; {WEEK} is available"


def test_a_version_to_be_pinned_comes_from_where_its_selected() -> None:
    pinned = stored(versions(MONTH), is_pinned=True, pinned_version=WEEK)
    mine = source(versions(TODAY, WEEK))
    other = source(versions(TODAY, WEEK), id=2, priority=9, wanted=[])
    [found] = plan([mine, other], Inventory((pinned,), {})).sets
    assert (found.source_id, found.offer.version) == (1, WEEK)
    [found] = plan([source(versions(TODAY)), other], Inventory((pinned,), {})).sets
    assert (found.source_id, found.offer.version) == (2, WEEK)


@pytest.mark.parametrize(
    ("days", "images", "chosen"),
    [
        (7, {("ubuntu/noble", "amd64"): 0}, TODAY),
        (0, {("ubuntu/noble", "amd64"): 30}, MONTH),
        (30, {("ubuntu/noble", "arm64"): 0}, MONTH),
    ],
)
def test_the_days_of_an_image_win(
    days: int, images: dict[tuple[str, str], int], chosen: str
) -> None:
    made = plan([soaked(TODAY, WEEK, MONTH, soak=Soak(NOW, days, images))], NOTHING)
    assert made.sets[0].offer.version == chosen


def test_a_version_without_a_date_is_as_old_as_its_first_sight() -> None:
    seen = {"noble": {"9": "2026-11-25T10:00:00+00:00", "8": "2026-11-20T23:59:59+00:00"}}
    made = plan([soaked("9", "8", soak=replace(WEEKLY, first_seen=seen))], NOTHING)
    assert made.sets[0].offer.version == "8"
    assert "9 will be on 2026-12-02" in made.sets[0].why
    assert plan([soaked("9", "8")], NOTHING).sets[0].offer.version == "9"  # never dated: always old


def test_first_sights_are_kept_and_only_of_versions_without_a_date() -> None:
    known = {"9": "2026-11-25T10:00:00+00:00", "7": "2026-01-01T00:00:00+00:00"}
    found = soaking.sightings(versions("10", "9", TODAY), known, NOW)
    assert found == {"10": NOW.isoformat(), "9": known["9"], TODAY: ""}
    assert list(found) == ["10", "9", TODAY]


@pytest.mark.parametrize(
    ("name", "day"),
    [("20261129", date(2026, 11, 29)), ("20240229.10", date(2024, 2, 29)), ("20261350", None),
     ("24.04", None), ("2026112", None), ("20261129-1", None), ("00000101", None)],
)  # fmt: skip
def test_the_date_of_a_version_is_its_name(name: str, day: date | None) -> None:
    assert soaking.dated(name) == day


def test_a_date_far_away_is_no_error() -> None:
    assert soaking.due_on("99991231", "", 365) == date.max


SERIALS = st.dates(date(2026, 10, 1), date(2026, 12, 31)).map(lambda day: f"{day:%Y%m%d}")


@given(
    st.lists(SERIALS, min_size=1, max_size=5, unique=True),
    st.integers(0, 60),
    st.none() | SERIALS,
)
def test_whatever_is_offered_no_stored_image_goes_back_or_away(
    names: list[str], days: int, before: str | None
) -> None:
    names = sorted(names, reverse=True)
    region = inventory_of(versions(before)) if before else NOTHING
    made = plan([soaked(*names, soak=Soak(NOW, days))], region)
    assert not made.retire
    for one in made.sets:
        held = days and one.offer.version != names[0]
        assert not days or soaking.due_on(one.offer.version, "", days) <= NOW.date()
        assert not (held and before and before > one.offer.version)


def test_files_of_older_versions_are_found_at_every_source() -> None:
    first, second = soaked(TODAY, WEEK), replace(soaked(TODAY, WEEK), id=2)
    assert all(len(blob.locations) == 2 for blob in plan([first, second], NOTHING).blobs)
