# SPDX-License-Identifier: Apache-2.0
"""What a machine fetched, boot by boot, read off its events. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

GAP = timedelta(minutes=10)  # a machine that fetched nothing for so long boots anew
SHORTEST_S = 0.05  # of less, a speed says nothing


class Fetched(Protocol):
    """An ``image.fetched`` event."""

    at: datetime
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class Fetch:
    """One file. size: bytes sent; took_s: None where nobody measured; missing: bytes left."""

    file: str
    image: str
    begun_at: datetime
    ended_at: datetime
    size: int
    took_s: float | None
    missing: int = 0

    @property
    def is_stalled(self) -> bool:
        """Whether the machine stopped in the middle of the file and didn't come back."""
        return self.missing > 0

    @property
    def speed(self) -> float | None:
        """Bytes per second; None if the time isn't known, or too short to tell."""
        is_known = self.took_s is not None and self.took_s >= SHORTEST_S
        return self.size / self.took_s if is_known and self.took_s else None


@dataclass(frozen=True)
class Boot:
    """Fetches that followed each other."""

    fetches: tuple[Fetch, ...]

    @property
    def begun_at(self) -> datetime:
        """When the first began."""
        return self.fetches[0].begun_at

    @property
    def seconds(self) -> float:
        """From the first byte to the last."""
        return (max(one.ended_at for one in self.fetches) - self.begun_at).total_seconds()

    @property
    def size(self) -> int:
        """Bytes sent."""
        return sum(one.size for one in self.fetches)

    @property
    def stalled(self) -> int:
        """How many files it doesn't have whole."""
        return sum(one.is_stalled for one in self.fetches)


def is_stalled(detail: dict[str, Any]) -> bool:
    """Whether an event tells of a file that the machine doesn't have whole."""
    return any(part.get("missing") for part in detail.get("parts") or ())


def of_events(events: Iterable[Fetched]) -> list[Boot]:
    """The boots that these events of one machine tell of, the latest first."""
    found = sorted(
        (fetch for event in events for fetch in _fetches(event)), key=lambda one: one.begun_at
    )
    boots: list[list[Fetch]] = []
    ended: datetime | None = None
    for fetch in found:
        if ended is None or fetch.begun_at - ended > GAP:
            boots.append([])
            ended = fetch.ended_at
        boots[-1].append(fetch)
        ended = max(ended, fetch.ended_at)
    return [Boot(tuple(group)) for group in reversed(boots)]


def _fetches(event: Fetched) -> list[Fetch]:
    """Its files; of an event without times, all of them as one."""
    parts = [part for part in event.detail.get("parts") or () if "end_s" in part]
    if not parts:
        names, size = event.detail.get("files") or (), int(event.detail.get("bytes", 0))
        return [Fetch(", ".join(names), event.subject, event.at, event.at, size, None)]
    return [_fetch(event, part) for part in parts]


def _fetch(event: Fetched, part: dict[str, Any]) -> Fetch:
    ended_at = event.at + timedelta(seconds=part["end_s"])
    took_s = part["took_s"]
    return Fetch(
        part["file"],
        event.subject,
        ended_at - timedelta(seconds=took_s or 0),
        ended_at,
        part["bytes"],
        took_s,
        part.get("missing", 0),
    )
