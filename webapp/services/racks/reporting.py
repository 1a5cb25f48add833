# SPDX-License-Identifier: Apache-2.0
"""What a rack reports: what it holds, whom it serves, and what machines fetched from it.

Its words are kept as they come, bounded by the API's schema, and shown as its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from webapp.extensions import db
from webapp.models import Event, Rack, utcnow
from webapp.services.images import fetching
from webapp.services.system import recorder, statements
from webapp.services.system.events import FETCHED, REFUSED
from webapp.services.system.recorder import Tally


@dataclass(frozen=True)
class Fetch:
    """A machine fetched a file. id: rises, and is the same when it's reported again.

    why: it didn't get the file.
    """

    id: int
    at: datetime
    machine: str
    name: str
    bytes: int
    why: str = ""


def keep(rack: Rack, values: Mapping[str, Any], fetches: Iterable[Fetch]) -> int:
    """Keep a report; returns the highest id of its events that's kept. Commits.

    A batch that comes twice, also at the same moment, is kept once.
    """
    rack_id, before, name = rack.id, rack.event_id, rack.name
    now = utcnow()
    fresh = [fetch for fetch in fetches if fetch.id > before]
    highest = max((fetch.id for fetch in fresh), default=before)
    mine = update(Rack).where(Rack.id == rack_id)
    statements.execute(mine.values(**values, reported_at=now, seen_at=now))
    # Whoever raises the number keeps the events; it waits for one that is doing so.
    if fresh and statements.count(mine.where(Rack.event_id == before).values(event_id=highest)):
        tallies = _tallies(name, fresh, now)
        _join_known(tallies)
        recorder.put(db.session.connection(), tallies)
        fetching.note_folders(tally.subject for tally in tallies if not tally.why)
    db.session.commit()
    return db.session.scalar(select(Rack.event_id).where(Rack.id == rack_id)) or 0


def _tallies(rack: str, fetches: Sequence[Fetch], now: datetime) -> list[Tally]:
    """The fetches as the recorder counts them: by machine and image, within its window."""
    found: dict[tuple[str, str, str], list[Tally]] = {}
    for fetch in sorted(fetches, key=lambda each: each.at):
        image, _, file = fetch.name.rpartition("/")
        at = min(fetch.at, now)  # a clock that is ahead doesn't date events in the future
        kind, status = (REFUSED, 404) if fetch.why else (FETCHED, 200)
        group = found.setdefault((kind, fetch.machine, image), [])
        if not group or (at - group[-1].at).total_seconds() > recorder.WINDOW_S:
            group.append(Tally(kind, fetch.machine, image, rack=rack, status=status, at=at))
        group[-1].why = fetch.why
        after_s = (at - group[-1].at).total_seconds()
        group[-1].count(fetch.bytes, file, end_s=after_s)
    return [tally for group in found.values() for tally in group]


def _join_known(tallies: Iterable[Tally]) -> None:
    """Count what continues an event of an earlier report in its row."""
    firsts = {(one.kind, one.actor, one.subject): one for one in reversed(list(tallies))}
    window = timedelta(seconds=recorder.WINDOW_S)
    since = min(tally.at for tally in firsts.values()) - window
    rows = db.session.execute(
        select(Event.id, Event.at, Event.kind, Event.actor, Event.subject, Event.detail)
        .where(Event.kind.in_((FETCHED, REFUSED)), Event.at >= since)
        .where(Event.actor.in_({actor for _, actor, _ in firsts}))
        .order_by(Event.at, Event.id)
    )
    known = {(r.kind, r.actor, r.subject, r.detail.get("rack")): r for r in rows}
    for tally in firsts.values():
        row = known.get((tally.kind, tally.actor, tally.subject, tally.rack))
        if row is not None and abs(tally.at - row.at) <= window:
            tally.join(row.id, row.detail, (tally.at - row.at).total_seconds())
