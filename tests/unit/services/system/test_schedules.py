# SPDX-License-Identifier: Apache-2.0
"""Schedules: how they are written, and when they are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.services.system.schedules import Cron, Interval, parse

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("6 hours", 360), ("every 90 minutes", 90), ("1d", 1440), ("5 Min", 5), (" 2  h ", 120)],
)
def test_an_interval_counts_from_the_last_start(text: str, minutes: int) -> None:
    found = parse(text)
    assert found == Interval(timedelta(minutes=minutes))
    assert found.next_after(at("2026-03-28 12:00"), BERLIN) == at("2026-03-28 12:00") + timedelta(
        minutes=minutes
    )


@pytest.mark.parametrize(
    ("text", "last", "due"),
    [
        ("0 3 * * *", "2026-01-01 12:00", "2026-01-02 02:00"),
        ("0 3 * * *", "2026-07-01 12:00", "2026-07-02 01:00"),
        ("30 2 * * *", "2026-03-29 00:00", "2026-03-29 01:00"),  # 02:30 is left out: at 03:00
        ("0 22 * * mon-fri", "2026-01-02 21:00", "2026-01-05 21:00"),
        ("*/15 * * * *", "2026-01-01 12:07", "2026-01-01 12:15"),
    ],
)
def test_a_cron_expression_is_due_by_the_clock_of_its_zone(text: str, last: str, due: str) -> None:
    found = parse(text)
    assert isinstance(found, Cron)
    assert found.next_after(at(last), BERLIN) == at(due)


def test_nothing_is_no_schedule() -> None:
    assert parse("  ") is None


@pytest.mark.parametrize(
    "text",
    ["often", "0 hours", "400 days", "0 3 * *", "61 3 * * *", "0 0 30 2 *", "0 0 0 3 * * *",
     "* * * * * *", "@daily", "0 3 * * x"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. 6 hours"):
        parse(text)


CRON_LIKE = st.from_regex(r"[0-9*/,\-]{1,8}( [0-9*/,\-#L]{1,5}){4}", fullmatch=True)


def refusal(text: str) -> str:
    try:
        parse(text)
    except ValueError as refused:
        return str(refused)
    return ""


@given(st.text(max_size=30) | CRON_LIKE)
def test_any_text_is_a_schedule_or_refused_in_words(text: str) -> None:
    words = refusal(text)
    if words:
        assert "e.g. 6 hours" in words
        return
    last, found = at("2026-10-25 00:30"), parse(text)
    assert found is None or found.next_after(last, BERLIN) > last
