# SPDX-License-Identifier: Apache-2.0
"""Events as the page shows them, and as spreadsheets and programs take them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webapp.models import Event, Role
from webapp.numbers import counted
from webapp.services.system import boots, events
from webapp.services.system.boots import Boot, Fetch
from webapp.web.formatting import byte_size, byte_speed, duration, iso_time

COLUMNS = ("id", "at", "kind", "actor", "subject", "detail")
SHOWN_FILES = 3
_BLANKS = str.maketrans("._-", "   ")
_HIDDEN = ("requests", "status", "bytes", "files", "parts")
# What a spreadsheet takes for the start of a formula, also in full width.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True)
class EventRow:
    """One event. actor: "" if the visitor may not know it."""

    id: int
    at: datetime
    kind: str
    title: str
    actor: str
    is_machine: bool
    subject: str
    text: str
    is_stalled: bool


@dataclass(frozen=True)
class FetchRow:
    """One bar of a boot; start and width in thousandths of the boot."""

    file: str
    image: str
    start: str
    took: str
    size: int
    speed: str
    x: int
    width: int
    is_stalled: bool
    missing: str


@dataclass(frozen=True)
class BootView:
    """A boot as a picture and as numbers."""

    begun_at: datetime
    summary: str
    rows: tuple[FetchRow, ...]


def event_row(event: Event, role: Role) -> EventRow:
    """An event as this role sees it."""
    return EventRow(
        id=event.id,
        at=event.at,
        kind=event.kind,
        title=title_of(event.kind),
        actor=events.shown_actor(event, role),
        is_machine=events.is_by_machine(event),
        subject=event.subject,
        text=_text(event),
        is_stalled=boots.is_stalled(event.detail),
    )


def title_of(kind: str) -> str:
    """A kind in words: "image.version_removed" is "Image version removed"."""
    return kind.translate(_BLANKS).capitalize()


def boot_view(boot: Boot) -> BootView:
    """The picture of a boot."""
    span = max(boot.seconds, 0.001)
    summary = f"{counted(len(boot.fetches), 'file')}, {byte_size(boot.size)}"
    summary += f" in {_seconds(boot.seconds)}"
    if boot.stalled:
        summary += f", {boot.stalled} stopped early"
    return BootView(
        begun_at=boot.begun_at,
        summary=summary,
        rows=tuple(_fetch_row(one, boot.begun_at, span) for one in boot.fetches),
    )


def as_csv(rows: Iterable[Event], role: Role) -> str:
    """A table with a head; no cell is a formula, whoever wrote what is in it."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows([_plain(value) for value in _values(row, role)] for row in rows)
    return out.getvalue()


def as_json(rows: Sequence[Event], role: Role, next_before: int | None) -> str:
    """One object: the events, and the id to ask for those before."""
    found = [dict(zip(COLUMNS, _values(row, role), strict=True)) for row in rows]
    return json.dumps({"events": found, "next_before": next_before}) + "\n"


def _values(event: Event, role: Role) -> tuple[Any, ...]:
    actor = events.shown_actor(event, role)
    return event.id, iso_time(event.at), event.kind, actor, event.subject, event.detail


def _plain(value: object) -> str:
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _text(event: Event) -> str:
    detail = event.detail
    words = [f"{name.replace('_', ' ')}: {_short(value)}" for name, value in detail.items()]
    if "bytes" not in detail:
        return ", ".join(words)
    files = list(detail.get("files") or ())
    names = ", ".join(files[:SHOWN_FILES])
    if len(files) > SHOWN_FILES:
        names += f" and {len(files) - SHOWN_FILES} more"
    size = byte_size(int(detail["bytes"]))
    others = [
        f"{name}: {_short(value)}"
        for name, value in detail.items()
        if name not in _HIDDEN and value not in ("", None)
    ]
    return ", ".join(filter(None, [names, size, *others]))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 120 else text[:119] + "…"


def _fetch_row(fetch: Fetch, begun_at: datetime, span: float) -> FetchRow:
    start = (fetch.begun_at - begun_at).total_seconds()
    took = (fetch.ended_at - fetch.begun_at).total_seconds()
    x = min(995, round(1000 * start / span))
    return FetchRow(
        file=fetch.file or "Files",
        image=fetch.image,
        start=_seconds(start),
        took="Unknown" if fetch.took_s is None else _seconds(fetch.took_s),
        size=fetch.size,
        speed=byte_speed(fetch.speed) if fetch.speed is not None else "",
        x=x,
        width=max(5, min(1000 - x, round(1000 * took / span))),
        is_stalled=fetch.is_stalled,
        missing=byte_size(fetch.missing) if fetch.missing else "",
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
