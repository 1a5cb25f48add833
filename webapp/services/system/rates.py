# SPDX-License-Identifier: Apache-2.0
"""Byte rates as people write them, by day and by night. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from webapp.services.system import windows

EXAMPLE = "5 MB/s, 800 kB/s or 100 Mbit/s"
MIN_BYTES_PER_S = 1000
MAX_BYTES_PER_S = 10**12

_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([A-Za-z]*)(?:/s)?", re.ASCII)
_BYTES = {"": 1, "B": 1, "bytes": 1}
_BYTES |= {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_BYTES |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_BITS = {"kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9}


def parse(text: str) -> int:
    """Bytes a second; 0, also for an empty text, is no limit. Raises ValueError for people."""
    text = text.strip()
    match = _RATE.fullmatch(text or "0")
    unit = match[2] if match else "?"
    if match is None or unit not in {**_BYTES, **_BITS}:
        raise ValueError(f"{text[:40]!r} isn't a rate. Enter e.g. {EXAMPLE}; 0 for no limit")
    size = Decimal(match[1])
    rate = int(size * _BITS[unit] / 8 if unit in _BITS else size * _BYTES[unit])
    if size and not MIN_BYTES_PER_S <= rate <= MAX_BYTES_PER_S:
        raise ValueError(f"Enter a rate from 1 kB/s to 1000 GB/s, e.g. {EXAMPLE}; 0 for no limit")
    return rate


def rate_at(now: datetime, day: str, night: str, night_hours: str, zone: ZoneInfo) -> int:
    """The rate that holds at a moment; the day's holds at night too if none is set for it."""
    hours = windows.parse(night_hours)
    is_night = bool(night.strip() and hours) and windows.is_open(now, hours, zone)
    return parse(night if is_night else day)
