# SPDX-License-Identifier: Apache-2.0
"""What a mirror server has seen."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Request:
    """One request as it was answered; ``sent`` counts body bytes, ``end`` how it ended."""

    method: str
    path: str
    headers: dict[str, str]
    port: int
    status: int = 0
    sent: int = 0
    end: str = ""

    @property
    def range(self) -> str:
        """The Range header, or nothing."""
        return self.headers.get("range", "")


@dataclass
class Record:
    """What the server has seen; shared by its threads, guarded by ``changed``."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    log: list[Request] = field(default_factory=list)
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    busy: int = 0
    now_open: int = 0
    peak_open: int = 0

    def settle(self, seconds: float = 2.0) -> None:
        """Wait until no answer is on its way; one that hangs on purpose is not waited for."""
        with self.changed:
            self.changed.wait_for(lambda: self.busy == 0, seconds)
