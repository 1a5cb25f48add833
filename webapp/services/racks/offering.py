# SPDX-License-Identifier: Apache-2.0
"""Which state of the region's stream each rack is offered. Pure.

A state is one number: the stream's revision, and below it the revision of the rack's
settings. So it changes when either does, and shows which revision a rack holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

AWAY = timedelta(minutes=10)  # a rack that wasn't seen for so long holds up no other
_BITS = 20  # of the settings' revision


@dataclass(frozen=True)
class Stream:
    """A state of the stream. index: SHA-256 of its signed index, "" to keep what there is."""

    revision: int = 0
    serial: int = 0
    index: str = ""


@dataclass(frozen=True)
class Settings:
    """What an administrator chose for a rack. See models.Rack."""

    mode: str
    images: tuple[str, ...]
    max_bytes: int | None
    rate: int | None
    upstreams: tuple[str, ...]
    is_drained: bool
    verifications: int
    after_rack_id: int | None


@dataclass(frozen=True)
class Known:
    """What the region knows of a rack. offered: the state of the stream it was offered last."""

    id: int
    settings: Settings
    settings_revision: int
    held_state: int
    seen_at: datetime | None
    offered: Stream


@dataclass(frozen=True)
class Offer:
    """What a rack is offered. is_withheld: there is a newer state, after another rack."""

    rack_id: int
    state: int
    stream: Stream
    settings: Settings
    is_withheld: bool


def offers(stream: Stream, racks: Mapping[int, Known], now: datetime) -> dict[int, Offer]:
    """What each rack is offered."""
    return {one.id: _offer(stream, one, racks, now) for one in racks.values()}


def _offer(stream: Stream, rack: Known, racks: Mapping[int, Known], now: datetime) -> Offer:
    first = racks.get(rack.settings.after_rack_id or 0)
    is_withheld = (
        first is not None
        and 0 < rack.offered.revision < stream.revision  # one that has nothing waits for no one
        and is_behind(first.held_state, stream.revision)
        and not first.settings.is_drained
        and not is_away(first.seen_at, now)
    )
    offered = rack.offered if is_withheld else stream
    state = state_of(offered.revision, rack.settings_revision)
    return Offer(rack.id, state, offered, rack.settings, is_withheld)


def state_of(revision: int, settings_revision: int) -> int:
    """The number of a state; never 0 for a rack that is enrolled."""
    return (revision << _BITS) + settings_revision % (1 << _BITS)


def revision_of(state: int) -> int:
    """The stream's revision in a state."""
    return state >> _BITS


def is_behind(held_state: int, revision: int) -> bool:
    """Whether a rack holds an older revision than this one."""
    return revision_of(held_state) < revision


def is_away(seen_at: datetime | None, now: datetime) -> bool:
    """Whether a rack wasn't seen for so long that no other waits for it."""
    return seen_at is None or abs(now - seen_at) > AWAY
