# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from webapp.web import formatting

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (812_345_678, "812 MB"),
        (3_400_000_000, "3.4 GB"),
        (1_900_000_000_000, "1.9 TB"),
        (10**18, "1000 PB"),
    ],
)
def test_bytes_are_read_in_si_units(size: int, text: str) -> None:
    assert formatting.byte_size(size) == text


def test_speed_is_bytes_in_a_second() -> None:
    assert formatting.byte_speed(84_200_000) == "84.2 MB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (42.4, "42 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7800, "2 h 10 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=-2), "just now"),
        (timedelta(seconds=30), "30 seconds ago"),
        (timedelta(seconds=61), "1 minute ago"),
        (timedelta(hours=5, minutes=50), "5 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=29), "29 days ago"),
        (timedelta(days=30), "24 October 2026"),
        (timedelta(minutes=-14), "in 14 minutes"),
        (timedelta(days=-400), "28 December 2027"),
    ],
)
def test_times_are_relative_to_now(ago: timedelta, text: str) -> None:
    assert formatting.relative_time(NOW - ago, NOW) == text


def test_times_are_in_utc() -> None:
    there = datetime(2026, 11, 23, 8, 5, 9, tzinfo=timezone(timedelta(hours=2)))
    assert formatting.iso_time(there) == "2026-11-23T06:05:09Z"
    assert formatting.absolute_time(there) == "23 November 2026, 06:05:09 UTC"
    assert formatting.absolute_date(there) == "23 November 2026"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
            "Firefox on Linux",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.5.0", "curl"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_are_called_by_their_names(agent: str, name: str) -> None:
    assert formatting.browser_name(agent) == name


def test_code_in_a_text_is_shown_as_code_and_nothing_else_is_markup() -> None:
    shown = formatting.code_words("Run `slipway <x>` & see")
    assert shown == "Run <code>slipway &lt;x&gt;</code> &amp; see"
