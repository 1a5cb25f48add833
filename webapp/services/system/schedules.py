# SPDX-License-Identifier: Apache-2.0
"""When something is due again: an interval, or a cron expression. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

EXAMPLE = "6 hours, 90 minutes, or as cron has it: 0 3 * * Mon-Fri"
MAX_TEXT = 100
MAX_DAYS = 366

_INTERVAL = re.compile(
    r"(?:every )?(\d{1,6}) ?(m|min|minutes?|h|hours?|d|days?)", re.ASCII | re.IGNORECASE
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
# The field values of cron that make no date at all are found by looking for the first one.
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Interval:
    """So long after the last start."""

    length: timedelta

    def next_after(self, last: datetime, zone: ZoneInfo) -> datetime:
        """When it's due again, in UTC."""
        return last + self.length


@dataclass(frozen=True)
class Cron:
    """At times of a wall clock. One that spring leaves out comes right after the gap."""

    expression: str

    def next_after(self, last: datetime, zone: ZoneInfo) -> datetime:
        """When it's due again, in UTC."""
        return next(CronSim(self.expression, last.astimezone(zone))).astimezone(UTC)


Schedule = Interval | Cron


def parse(text: str) -> Schedule | None:
    """The schedule of a text, None for an empty one. Raises ValueError for people to read."""
    text = " ".join(text.split())
    if not text:
        return None
    match = _INTERVAL.fullmatch(text)
    if match:
        unit = _UNITS[match[2][0].lower()]
        length = timedelta(**{unit: int(match[1])})
        if not timedelta(minutes=1) <= length <= timedelta(days=MAX_DAYS):
            raise ValueError(f"Enter from 1 minute to {MAX_DAYS} days, e.g. {EXAMPLE}")
        return Interval(length)
    if len(text) <= MAX_TEXT and len(text.split()) == 5:
        try:
            next(CronSim(text.upper(), _ANY_DAY))
        except (CronSimError, StopIteration):
            pass
        else:
            return Cron(text.upper())
    raise ValueError(f"{text[:60]!r} isn't a schedule. Enter e.g. {EXAMPLE}")
