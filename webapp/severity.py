# SPDX-License-Identifier: Apache-2.0
"""How serious a finding or a state is: one vocabulary for checks, sources, images and pages."""

from __future__ import annotations

import enum


class Severity(enum.StrEnum):
    """The value also names the icon and the colour on pages, and is part of ``/api/v1``."""

    OK = "ok"
    INFO = "info"
    OFF = "off"
    WAIT = "wait"
    BUSY = "busy"
    WARN = "warn"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for the most serious, so that sorting by it puts what needs attention first."""
        return len(_ORDER) - 1 - _ORDER.index(self)

    @property
    def word(self) -> str:
        """What a command writes before a finding: note, warning or error."""
        return {"info": "note", "warn": "warning"}.get(self, self.value)


_ORDER = tuple(Severity)
