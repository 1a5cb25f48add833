# SPDX-License-Identifier: Apache-2.0
"""A state as pages show it: how serious it is, and one or two words."""

from __future__ import annotations

from dataclasses import dataclass

from webapp.severity import Severity


@dataclass(frozen=True)
class State:
    """What ``ui.state`` shows: ``severity`` picks icon and colour, ``text`` states the same."""

    severity: Severity
    text: str


ON = State(Severity.OK, "On")
OFF = State(Severity.OFF, "Off")
UNSIGNED = State(Severity.WARN, "Unsigned")
CURRENT = State(Severity.OK, "Current")
