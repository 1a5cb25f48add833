# SPDX-License-Identifier: Apache-2.0
"""Machines that fetch now: from their events, and from what racks on other machines report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import Event
from webapp.services.racks.listing import RackStatus
from webapp.services.system.events import FETCHED

LATELY = timedelta(minutes=2)  # an event is written half a minute late
MAX_EVENTS = 100  # the newest ones, of which those that ended lately count


class Fetched(Protocol):
    """An ``image.fetched`` event."""

    at: datetime
    actor: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """A machine and the file that it fetched last or fetches now.

    image: the folder that it asked for. size: bytes sent lately, or of the file that is being sent;
    total: bytes of that file, None once it's sent. rack: "" for the region's own.
    """

    address: str
    image: str
    file: str
    size: int
    total: int | None
    rack: str
    at: datetime


@dataclass(frozen=True)
class Fetching:
    """Machines that fetched lately, the latest first, and the last one before if there is none."""

    machines: tuple[Machine, ...]
    last: Machine | None


def read(racks: Iterable[RackStatus], now: datetime) -> Fetching:
    """Who fetches, in one query."""
    query = select(Event.at, Event.actor, Event.subject, Event.detail).where(Event.kind == FETCHED)
    rows = db.session.execute(query.order_by(Event.id.desc()).limit(MAX_EVENTS)).all()
    return fetching(rows, racks, now)


def fetching(rows: Sequence[Fetched], racks: Iterable[RackStatus], now: datetime) -> Fetching:
    """Each machine once, with the latest that is known of it. Pure."""
    served = [one for rack in racks if not rack.is_away for one in _served(rack)]
    ended = [_of_event(row) for row in rows]
    lately = [one for one in ended if abs(now - one.at) < LATELY]
    sizes: Counter[tuple[str, str]] = Counter()  # processes of a rack count by themselves
    for one in lately:
        sizes[one.address, one.image] += one.size
    lately = [replace(one, size=sizes[one.address, one.image]) for one in lately]
    found: dict[str, Machine] = {}
    for one in (*served, *sorted(lately, key=lambda one: one.at, reverse=True)):
        found.setdefault(one.address, one)
    return Fetching(tuple(found.values()), max(ended, key=lambda one: one.at, default=None))


def _served(rack: RackStatus) -> list[Machine]:
    at = rack.reported_at or rack.enrolled_at
    found = []
    for one in rack.serving:
        image, _, file = str(one["name"]).rpartition("/")
        sent, total = int(one["sent"]), int(one["size"])
        found.append(Machine(str(one["machine"]), image, file, sent, total, rack.name, at))
    return found


def _of_event(row: Fetched) -> Machine:
    parts: Sequence[dict[str, Any]] = row.detail.get("parts") or ()
    last: dict[str, Any] = max(parts, key=lambda part: float(part.get("end_s", 0)), default={})
    files = row.detail.get("files") or ("",)
    return Machine(
        address=row.actor,
        image=row.subject,
        file=str(last.get("file", files[-1])),
        size=int(row.detail.get("bytes", 0)),
        total=None,
        rack=str(row.detail.get("rack", "")),
        at=row.at + timedelta(seconds=float(last.get("end_s", 0))),
    )
