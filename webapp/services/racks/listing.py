# SPDX-License-Identifier: Apache-2.0
"""Racks as people see them: what each holds against what is published, and how it is doing."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from webapp.errors import NotFound, Problem
from webapp.extensions import db
from webapp.models import BootResource, PublishedDocument, Rack, RackMode, utcnow
from webapp.services.racks import board, offering
from webapp.services.racks.offering import Offer
from webapp.severity import Severity
from webapp.streams.model import INDEX_PATH

LATE = timedelta(minutes=2)  # a rack asks or reports every 30 seconds at least
OLD = timedelta(minutes=10)  # a rack should hold what was published so long ago
RECENT = timedelta(hours=1)  # an error that's younger is worth a word


class RackState(enum.StrEnum):
    """What a rack is doing."""

    NEVER_SEEN = "never-seen"
    AWAY = "away"
    DRAINED = "drained"
    WAITING = "waiting"
    SYNCING = "syncing"
    BEHIND = "behind"
    CURRENT = "current"


@dataclass(frozen=True)
class RackError:
    """Something that went wrong on a rack, in the rack's words."""

    at: datetime
    what: str


@dataclass(frozen=True)
class RackStatus:
    """A rack now. text: its state in a few words. published_serial: what the region publishes.

    hit_rate: share of requests answered from its store, None before the first. has_errors:
    whether one is recent. after_rack: name of the rack that it comes after.
    """

    id: int
    system_id: str
    name: str
    url: str
    address: str
    version: str
    enrolled_at: datetime
    seen_at: datetime | None
    reported_at: datetime | None
    state: RackState
    severity: Severity
    text: str
    mode: str
    images: tuple[str, ...]
    max_bytes: int | None
    rate: int | None
    upstreams: tuple[str, ...]
    is_drained: bool
    after_rack_id: int | None
    after_rack: str
    held_serial: int
    published_serial: int
    bytes: int
    files: int
    wanted_bytes: int
    hits: int
    misses: int
    hit_rate: float | None
    sent_bytes: int
    fetched_bytes: int
    speed: int
    verified_at: datetime | None
    errors: tuple[RackError, ...]
    has_errors: bool
    serving: tuple[dict[str, Any], ...]

    @property
    def is_away(self) -> bool:
        """Whether what it reported may no longer be so."""
        return self.state in (RackState.NEVER_SEEN, RackState.AWAY)


def all_racks() -> list[RackStatus]:
    """Every rack, in the order of their names."""
    rows = db.session.scalars(select(Rack).order_by(Rack.name)).all()
    return _statuses(rows) if rows else []


def read(rack_id: int) -> RackStatus:
    """One rack. Raises NotFound."""
    for one in all_racks():
        if one.id == rack_id:
            return one
    raise NotFound(
        "There is no such rack.",
        where=f"rack {rack_id}",
        next_step="It may have been removed. See the page Racks or `slipway rack list`.",
    )


def problem_of(rack: RackStatus) -> Problem | None:
    """What someone should see to, if anything."""
    if rack.state is RackState.AWAY:
        return Problem(
            f"The rack {rack.name} doesn't answer.",
            code="rack-away",
            where=rack.address,
            got=f"last seen {rack.seen_at:%Y-%m-%d %H:%M} UTC",
            next_step="Check that it runs and reaches this region. Machines near it still get "
            "what it has.",
        )
    if rack.state is RackState.BEHIND:
        return Problem(
            f"The rack {rack.name} holds old images.",
            code="rack-behind",
            where=rack.address,
            expected=f"state {rack.published_serial}",
            got=f"state {rack.held_serial}" if rack.held_serial else "nothing",
            next_step=f"See its errors on the page Racks or with `slipway rack show {rack.name}`.",
        )
    return None


def image_names() -> list[str]:
    """Every image that a rack could be told to copy, as ``os/release/arch``."""
    names = select(BootResource.name, BootResource.arch).where(
        BootResource.current_set_id.is_not(None), BootResource.bootloader_type == ""
    )
    return sorted({f"{row.name}/{row.arch}" for row in db.session.execute(names)})


def _statuses(rows: Sequence[Rack]) -> list[RackStatus]:
    connection = db.session.connection()
    offers, stream = board.read(connection), board.stream(connection)
    at = select(PublishedDocument.published_at).where(PublishedDocument.path == INDEX_PATH)
    published_at, names = db.session.scalar(at), {row.id: row.name for row in rows}
    now = utcnow()
    return [
        _status(row, offers[row.id], stream.serial, published_at, names, now)
        for row in rows
        if row.id in offers
    ]


def _status(
    row: Rack,
    offer: Offer,
    serial: int,
    published_at: datetime | None,
    names: dict[int, str],
    now: datetime,
) -> RackStatus:
    after = names.get(row.after_rack_id or 0, "")
    state = judge(row, offer, published_at, now)
    severity, text = _words(state, after)
    asked = row.hits + row.misses
    errors = [RackError(datetime.fromisoformat(one["at"]), one["what"]) for one in row.errors]
    return RackStatus(
        id=row.id,
        system_id=row.system_id,
        name=row.name,
        url=row.url,
        address=row.address,
        version=row.version,
        enrolled_at=row.enrolled_at,
        seen_at=row.seen_at,
        reported_at=row.reported_at,
        state=state,
        severity=severity,
        text=text,
        mode=row.mode,
        images=tuple(row.images),
        max_bytes=row.max_bytes,
        rate=row.rate,
        upstreams=tuple(row.upstreams),
        is_drained=row.is_drained,
        after_rack_id=row.after_rack_id,
        after_rack=after,
        held_serial=row.held_serial,
        published_serial=serial,
        bytes=row.bytes,
        files=row.files,
        wanted_bytes=row.wanted_bytes,
        hits=row.hits,
        misses=row.misses,
        hit_rate=row.hits / asked if asked else None,
        sent_bytes=row.sent_bytes,
        fetched_bytes=row.fetched_bytes,
        speed=row.speed,
        verified_at=row.verified_at,
        errors=tuple(sorted(errors, key=lambda one: one.at, reverse=True)),
        has_errors=any(now - one.at < RECENT for one in errors),
        serving=tuple(row.serving),
    )


def judge(row: Rack, offer: Offer, published_at: datetime | None, now: datetime) -> RackState:
    """What a rack is doing. published_at: when the stream was signed."""
    if row.seen_at is None:
        return RackState.NEVER_SEEN
    if abs(now - row.seen_at) > LATE:
        return RackState.AWAY
    if row.is_drained:
        return RackState.DRAINED
    if offer.is_withheld:
        return RackState.WAITING
    if offering.is_behind(row.held_state, offer.stream.revision):
        is_old = published_at is not None and now - max(published_at, row.enrolled_at) > OLD
        return RackState.BEHIND if is_old else RackState.SYNCING
    if row.mode != RackMode.ON_DEMAND and row.bytes < row.wanted_bytes:
        return RackState.SYNCING
    return RackState.CURRENT


def _words(state: RackState, after: str) -> tuple[Severity, str]:
    if state is RackState.WAITING:
        return Severity.WAIT, f"Waiting for {after}"
    return _WORDS[state]


_WORDS = {
    RackState.NEVER_SEEN: (Severity.WAIT, "Never seen"),
    RackState.AWAY: (Severity.ERROR, "Not seen"),
    RackState.DRAINED: (Severity.OFF, "Drained"),
    RackState.SYNCING: (Severity.BUSY, "Syncing"),
    RackState.BEHIND: (Severity.WARN, "Out of date"),
    RackState.CURRENT: (Severity.OK, "Up to date"),
}
