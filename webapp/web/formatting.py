# SPDX-License-Identifier: Apache-2.0
"""Numbers and times as users read them; pure, and registered as template filters."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flask import Flask
from markupsafe import Markup, escape

from webapp.numbers import counted
from webapp.severity import Severity

SPANS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
UNITS = ("kB", "MB", "GB", "TB", "PB")


def byte_size(size: float) -> str:
    """Bytes in SI units with three digits at most: 999 bytes, 1.2 GB, 340 MB."""
    if size < 1000:
        return counted(int(size), "byte")
    value = float(size)
    for unit in UNITS:
        value /= 1000
        # 999.5 kB would be printed as 1000 kB: it is 1.0 MB.
        if value < 999.5 or unit == UNITS[-1]:
            break
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def byte_speed(bytes_per_s: float) -> str:
    """Bytes in a second: 12.5 MB/s."""
    return f"{byte_size(bytes_per_s)}/s"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: 42 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    rest = max(0, round(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break  # "1 h 5 s" would be more precise than useful
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"


def iso_time(at: datetime) -> str:
    """What a program reads: 2026-11-23T06:00:00Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def absolute_time(at: datetime) -> str:
    """What a person reads: 23 November 2026, 06:00:00 UTC."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M:%S} UTC"


def absolute_date(at: datetime) -> str:
    """Only the day: 23 November 2026."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y}"


def relative_time(at: datetime, now: datetime | None = None) -> str:
    """How long ago, or in how long; after a month the date is more useful."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    span = abs(seconds)
    if span < 5:
        return "just now"
    if span >= 30 * 86400:
        return absolute_date(at)
    name, length = next(unit for unit in SPANS if span >= unit[1])
    text = counted(int(span // length), name)
    return f"{text} ago" if seconds > 0 else f"in {text}"


BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """What a person calls the browser of a session: Firefox on Linux."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return " on ".join(part for part in (browser, system) if part) or "Unknown browser"


def code_words(text: str) -> Markup:
    """Show what stands between backticks, as in texts of errors, as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


SPOKEN = {Severity.OK: "Done", Severity.WARN: "Warning", Severity.ERROR: "Error"}


def spoken(severity: str) -> str:
    """What a screen reader announces before a notice of this severity."""
    return SPOKEN.get(Severity(severity), "Note")


def register(app: Flask) -> None:
    """Make the filters known to templates."""
    for function in (
        byte_size,
        byte_speed,
        duration,
        iso_time,
        absolute_time,
        absolute_date,
        relative_time,
        browser_name,
        code_words,
        counted,
        spoken,
    ):
        app.add_template_filter(function)
