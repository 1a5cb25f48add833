# SPDX-License-Identifier: Apache-2.0
"""The week's traffic as the page Overview draws and lists it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from webapp.services.system.traffic import Day
from webapp.web.formatting import byte_size

BAR, GAP, HEIGHT = 72, 28, 120  # units of the picture
LEAST = 3  # of the height, so that each day with traffic can be seen


@dataclass(frozen=True)
class DayBar:
    """A day, and its bar in units of the picture; y is its upper end."""

    name: str
    date: str
    size: int
    words: str
    x: int
    middle: int
    y: int
    height: int


@dataclass(frozen=True)
class WeekView:
    """Seven days; summary: the picture in words."""

    days: tuple[DayBar, ...]
    total: int
    summary: str


def week_view(days: Sequence[Day], today: date) -> WeekView:
    """The picture of a week; the highest bar takes all of the height."""
    most = max((one.size for one in days), default=0)
    bars = tuple(_bar(number, one, most, today) for number, one in enumerate(days))
    total = sum(one.size for one in days)
    peak = max(bars, key=lambda bar: bar.size)
    summary = f"{byte_size(total)} in 7 days"
    if total:
        summary += f", the most on {peak.date}: {byte_size(peak.size)}"
    return WeekView(bars, total, summary)


def _bar(number: int, one: Day, most: int, today: date) -> DayBar:
    height = max(LEAST, round(HEIGHT * one.size / most)) if one.size else 0
    x = GAP // 2 + number * (BAR + GAP)
    return DayBar(
        name="Today" if one.day == today else f"{one.day:%a}",
        date=f"{one.day.day} {one.day:%B}",
        size=one.size,
        words=byte_size(one.size) if one.size else "0",
        x=x,
        middle=x + BAR // 2,
        y=HEIGHT - height,
        height=height,
    )
