# SPDX-License-Identifier: Apache-2.0
"""Spans of the clock on days of the week, as people write them. Pure.

``22:00-06:00``, ``Mon-Fri 22:00-06:00; Sat,Sun 00:00-24:00``: the days are those on which a
window begins. Times are those of a wall clock, so that on a day when clocks change a
window is an hour longer or shorter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE = "Mon-Fri 22:00-06:00; Sat,Sun 00:00-24:00"
MAX_WINDOWS = 20
# Spring may swallow a weekly window of an hour, so two weeks show every change there is.
HORIZON_DAYS = 15
DAY = 24 * 60

_WINDOW = re.compile(
    r"(?:(?P<days>[A-Za-z,\-]+) )?(?P<start>\d\d?:\d\d)-(?P<end>\d\d?:\d\d)", re.ASCII
)


@dataclass(frozen=True)
class Window:
    """Minutes of a day: from start up to end, into the next day when end isn't after start."""

    start: int
    end: int
    days: frozenset[int] = frozenset(range(7))  # 0 is Monday

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether it is open at this minute of a day."""
        if self.start < self.end:
            return weekday in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return weekday in self.days
        return minute < self.end and (weekday - 1) % 7 in self.days


def parse(text: str) -> tuple[Window, ...]:
    """The windows of a text, none for an empty one. Raises ValueError for people to read."""
    parts = [" ".join(part.split()) for part in text.split(";") if part.strip()]
    if len(parts) > MAX_WINDOWS:
        raise ValueError(f"Enter at most {MAX_WINDOWS} windows, e.g. {EXAMPLE}")
    return tuple(_window(part) for part in parts)


def parse_zone(text: str) -> ZoneInfo:
    """A time zone by its name. Raises ValueError for people to read."""
    try:
        if not re.fullmatch(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*", text, re.ASCII):
            raise ValueError(text)
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            f"{text[:60]!r} isn't a time zone. Enter a name, e.g. UTC or Europe/Berlin"
        ) from None


def is_open(now: datetime, windows: Sequence[Window], zone: ZoneInfo) -> bool:
    """Whether a window is open; always when there are none."""
    local = now.astimezone(zone)
    minute = local.hour * 60 + local.minute
    return not windows or any(window.holds(local.weekday(), minute) for window in windows)


def next_change(now: datetime, windows: Sequence[Window], zone: ZoneInfo) -> datetime | None:
    """When ``is_open`` next gives another answer, in UTC; None when it never does."""
    before = is_open(now, windows, zone)
    moments = {*_boundaries(now, windows, zone), *_clock_changes(now, zone)}
    for moment in sorted(moments):
        if moment > now and is_open(moment, windows, zone) != before:
            return moment
    return None


def _window(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} isn't a window. Enter days and times, e.g. {EXAMPLE}")
    start, end = _minute(match["start"]), _minute(match["end"])
    if start == DAY:
        raise ValueError(f"A window can't start at 24:00. Enter days and times, e.g. {EXAMPLE}")
    days = frozenset(_days(match["days"])) if match["days"] else frozenset(range(7))
    return Window(start, end, days)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    found = int(hour) * 60 + int(minute)
    if int(minute) > 59 or found > DAY:
        raise ValueError(f"{text} isn't a time of day. Enter days and times, e.g. {EXAMPLE}")
    return found


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = _day(first), _day(last or first)
        yield from (day % 7 for day in range(start, end + 1 if end >= start else end + 8))


def _day(text: str) -> int:
    try:
        return DAYS.index(text.capitalize())
    except ValueError:
        known = ", ".join(DAYS)
        raise ValueError(f"{text[:20]!r} isn't a day. Days: {known}; e.g. {EXAMPLE}") from None


def _boundaries(now: datetime, windows: Sequence[Window], zone: ZoneInfo) -> Iterator[datetime]:
    """Every moment at which a window starts or ends; twice where the clock is set back."""
    first = now.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    minutes = {minute for window in windows for minute in (window.start, window.end)}
    for day in range(HORIZON_DAYS):
        for minute in minutes:
            local = first + timedelta(days=day, minutes=minute)
            for fold in (0, 1):
                yield local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _clock_changes(now: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """When the clock of a zone is set forward or back, to the minute."""
    start = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [start + timedelta(hours=hour) for hour in range(HORIZON_DAYS * 24 + 1)]
    for early, late in pairwise(hours):
        offset = early.astimezone(zone).utcoffset()
        if late.astimezone(zone).utcoffset() != offset:
            minutes = (early + timedelta(minutes=minute) for minute in range(61))
            yield next(at for at in minutes if at.astimezone(zone).utcoffset() != offset)
