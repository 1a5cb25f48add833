# SPDX-License-Identifier: Apache-2.0
"""What a rack knows of itself: its settings, counters and errors, kept across restarts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from webapp.remoterack import jsonfiles
from webapp.remoterack.names import CHOSEN, EVERYTHING, ON_DEMAND

MAX_ERRORS = 20
COUNTERS = ("hits", "misses", "sent_bytes", "fetched_bytes")


@dataclass(frozen=True)
class RackSettings:
    """What the region chose for this rack. max_bytes, rate: None for no limit."""

    mode: str = ON_DEMAND
    images: tuple[str, ...] = ()
    max_bytes: int | None = None
    rate: int | None = None
    upstreams: tuple[str, ...] = ()
    is_drained: bool = False
    verify: int = 0

    @classmethod
    def read(cls, tree: Mapping[str, Any], default: RackSettings) -> RackSettings:
        """What JSON says, as far as it can be meant."""

        def number(name: str) -> int | None:
            value = tree.get(name)
            return value if type(value) is int and value > 0 else None

        def texts(name: str) -> tuple[str, ...]:
            value = tree.get(name)
            return tuple(str(one) for one in value) if isinstance(value, (list, tuple)) else ()

        mode = tree.get("mode")
        return replace(
            default,
            mode=str(mode) if mode in (EVERYTHING, CHOSEN, ON_DEMAND) else default.mode,
            images=texts("images"),
            max_bytes=number("max_bytes"),
            rate=number("rate"),
            upstreams=texts("upstreams"),
            is_drained=tree.get("is_drained") is True,
            verify=number("verify") or 0,
        )


class Counts:
    """Totals since the rack was enrolled."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._lock = threading.Lock()
        self._totals = {
            name: value if type(value := tree.get(name)) is int else 0 for name in COUNTERS
        }

    def add(self, **more: int) -> None:
        """Count."""
        with self._lock:
            for name, value in more.items():
                self._totals[name] += int(value)

    def totals(self) -> dict[str, int]:
        """All of them."""
        with self._lock:
            return dict(self._totals)


@dataclass
class State:
    """What has to survive a restart, and what a report tells beside it.

    held_state, held_serial: the region's numbers of the tree that is in force and filled.
    verified: the number of the last check that was asked for and done. mirror_path: of the
    region's tree, "" until the region moved it.
    """

    path: Path
    settings: RackSettings
    counts: Counts
    held_state: int = 0
    held_serial: int = 0
    verified: int = 0
    verified_at: str | None = None
    mirror_path: str = ""
    trouble: str = ""  # with the region, "" while it answers
    errors: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=MAX_ERRORS))
    _saving: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path, default: RackSettings) -> State:
        """What was kept, or a first state."""
        tree = jsonfiles.read(path)
        return cls(
            path,
            RackSettings.read(tree.get("settings", {}), default),
            Counts(tree.get("counts", {})),
            held_state=int(tree.get("held_state", 0)),
            held_serial=int(tree.get("held_serial", 0)),
            verified=int(tree.get("verified", 0)),
            verified_at=tree.get("verified_at"),
            mirror_path=str(tree.get("mirror_path", "")),
        )

    def save(self) -> None:
        """Keep it; several threads do. May raise OSError."""
        with self._saving:
            jsonfiles.write(
                self.path,
                {
                    "settings": asdict(self.settings),
                    "counts": self.counts.totals(),
                    "held_state": self.held_state,
                    "held_serial": self.held_serial,
                    "verified": self.verified,
                    "verified_at": self.verified_at,
                    "mirror_path": self.mirror_path,
                },
            )

    def note(self, what: str) -> None:
        """Keep an error for the next reports; the same one again only renews its time."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        for known in list(self.errors):
            if known["what"] == what[:500]:
                self.errors.remove(known)
        self.errors.append({"at": at, "what": what[:500]})
