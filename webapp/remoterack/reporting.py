# SPDX-License-Identifier: Apache-2.0
"""Reports: what the rack holds and does, to its region and to a file beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from webapp.remoterack import jsonfiles
from webapp.remoterack.events import BATCH, EventLog
from webapp.remoterack.filling import Wanted
from webapp.remoterack.holding import Holding
from webapp.remoterack.region import Enrolment, Region
from webapp.remoterack.state import State

CHANGED_S = 3.0  # between reports while something changes
QUIET_S = 30.0
MAX_SERVING = 50


class Reporter:
    """Counts up what a report says, and sends it when it's time."""

    def __init__(
        self,
        region: Region | None,
        enrolment: Callable[[], Enrolment | None],
        state: State,
        events: EventLog,
        holding: Holding,
        wanted: Callable[[], list[Wanted]],
        serving: Callable[[], list[dict[str, object]]],
        status: Path,
    ) -> None:
        self._region, self._enrolment = region, enrolment
        self._state, self._events = state, events
        self._holding = holding
        self._wanted, self._serving, self._status = wanted, serving, status
        self._sent: dict[str, Any] = {}
        self._sent_at = self._seen_at = 0.0
        self._seen_bytes = 0
        self._speed = 0

    def tick(self, now: float) -> None:
        """Called each second; sends a report if it's due. Raises RackProblem."""
        self._on_disk(self._events.flush)
        self._measure(now)
        report = self._report()
        is_changed = report != self._sent or bool(self._events.batch())
        if now - self._sent_at < (CHANGED_S if is_changed else QUIET_S):
            return
        self._sent_at = now
        self._on_disk(self.keep)
        status = {**report, "trouble": self._state.trouble}
        self._on_disk(lambda: jsonfiles.write(self._status, status))
        enrolment = self._enrolment()
        if self._region is None or enrolment is None:
            return
        while True:
            batch = self._events.batch()
            confirmed = self._region.report(enrolment.credential, {**report, "events": batch})
            self._on_disk(partial(self._events.confirm, confirmed))
            if len(batch) < BATCH:
                break
        self._sent = report

    def keep(self) -> None:
        """Keep counters and events on the disk. May raise OSError."""
        self._state.save()
        self._events.flush()

    def _on_disk(self, write: Callable[[], object]) -> None:
        """Write; where that can't be, the region hears of it with all the rest."""
        try:
            write()
        except OSError as error:
            self._state.note(f"The rack can't write to its data folder: {error.strerror or error}.")

    def _report(self) -> dict[str, Any]:
        return {
            "held_state": self._state.held_state,
            "held_serial": self._state.held_serial,
            "bytes": self._holding.size,
            "files": self._holding.count,
            "wanted_bytes": sum(one.size for one in self._wanted()),
            **self._state.counts.totals(),
            "speed": self._speed,
            "verified_at": self._state.verified_at,
            "errors": list(self._state.errors),
            "serving": self._serving()[:MAX_SERVING],
        }

    def _measure(self, now: float) -> None:
        """Bytes a second to machines since the last look."""
        sent = self._state.counts.totals()["sent_bytes"]
        sent += sum(int(str(one["sent"])) for one in self._serving())
        passed = now - self._seen_at
        self._speed = max(0, int((sent - self._seen_bytes) / passed)) if self._seen_at else 0
        self._seen_at, self._seen_bytes = now, sent
