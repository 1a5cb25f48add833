# SPDX-License-Identifier: Apache-2.0
"""Windows of the clock: how they are written, when they are open, when that changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.services.system import windows
from webapp.services.system.windows import Window, is_open, next_change, parse

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [UTC_ZONE, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("22:00-06:00", (Window(1320, 360),)),
        (" 0:00-24:00 ; ", (Window(0, 1440),)),
        ("Mon-Fri 22:00-06:00", (Window(1320, 360, frozenset(range(5))),)),
        ("sat,SUN 08:30-12:00", (Window(510, 720, frozenset({5, 6})),)),
        ("Sat-Mon 01:00-02:00", (Window(60, 120, frozenset({5, 6, 0})),)),
        ("01:00-02:00;03:00-04:00", (Window(60, 120), Window(180, 240))),
    ],
)
def test_windows_are_read_as_people_write_them(text: str, found: tuple[Window, ...]) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("at night", "'at night' isn't a window"),
        ("22-6", "isn't a window"),
        ("25:00-26:00", "25:00 isn't a time of day"),
        ("10:61-11:00", "10:61 isn't a time of day"),
        ("24:00-06:00", "can't start at 24:00"),
        ("Mod 10:00-11:00", "'Mod' isn't a day"),
        (";".join(["10:00-11:00"] * 21), "at most 20 windows"),
    ],
)
def test_what_is_no_window_is_refused_with_an_example(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. Mon-Fri 22:00-06:00") as refused:
        parse(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../etc/passwd", "/etc/localtime", "Europe", "x" * 300]
)
def test_what_is_no_time_zone_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. UTC or Europe/Berlin"):
        windows.parse_zone(name)


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    found = parse("Fri 22:00-06:00")  # 2026-01-02 is a Friday
    moments = ("2026-01-02 05:59", "2026-01-02 22:00", "2026-01-03 05:59", "2026-01-03 06:00")
    assert [is_open(at(m), found, UTC_ZONE) for m in moments] == [False, True, True, False]
    assert next_change(at("2026-01-03 06:00"), found, UTC_ZONE) == at("2026-01-09 22:00")


def test_the_night_on_which_clocks_change_is_an_hour_shorter_or_longer() -> None:
    night = parse("22:00-06:00")
    begins, ends = at("2026-03-28 21:00"), at("2026-03-29 04:00")  # forward at 01:00 UTC
    assert next_change(begins, night, BERLIN) == ends
    assert next_change(at("2026-10-24 20:00"), night, BERLIN) == at("2026-10-25 05:00")


def test_a_window_in_the_hour_that_spring_leaves_out_opens_a_week_later() -> None:
    found = parse("Sun 02:10-02:50")
    assert next_change(at("2026-03-28 12:00"), found, BERLIN) == at("2026-04-05 00:10")


def test_a_window_in_the_hour_that_comes_twice_opens_twice() -> None:
    found = parse("Sun 02:10-02:50")
    moment, changes = at("2026-10-25 00:00"), []
    for _ in range(4):
        after = next_change(moment, found, BERLIN)
        assert after is not None
        changes.append(f"{after:%H:%M}")
        moment = after
    assert changes == ["00:10", "00:50", "01:10", "01:50"]


@pytest.mark.parametrize("text", ["", "00:00-24:00", "00:00-00:00", "05:00-05:00"])
def test_what_is_always_open_never_changes(text: str) -> None:
    now = at("2026-05-05 05:05")
    assert is_open(now, parse(text), BERLIN)
    assert next_change(now, parse(text), BERLIN) is None


WINDOW = st.builds(
    Window,
    st.integers(0, 1439),
    st.integers(0, 1440),
    st.frozensets(st.integers(0, 6), min_size=1),
)
# Around the days on which one of these zones changes its clock, and any others.
MOMENT = st.one_of(
    st.datetimes(datetime(2026, 3, 6), datetime(2026, 4, 6)),
    st.datetimes(datetime(2026, 10, 2), datetime(2026, 11, 3)),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
).map(lambda moment: moment.replace(tzinfo=UTC))


@settings(max_examples=60, deadline=None)
@given(now=MOMENT, found=st.lists(WINDOW, max_size=3), zone=st.sampled_from(ZONES))
def test_the_next_change_is_the_first_minute_that_differs(
    now: datetime, found: list[Window], zone: ZoneInfo
) -> None:
    before = is_open(now, found, zone)
    change = next_change(now, found, zone)
    last = change or now + timedelta(days=windows.HORIZON_DAYS - 1)
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while minute < last:
        assert is_open(minute, found, zone) == before
        minute += timedelta(minutes=1)
    if change is not None:
        assert change > now
        assert change.utcoffset() == timedelta(0)
        assert is_open(change, found, zone) != before
