# SPDX-License-Identifier: Apache-2.0
"""Pages, doctor, status and lists say the same of a boot source."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.support import factories
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import Role, utcnow
from webapp.services.overview import health as overview_health
from webapp.services.overview import status
from webapp.services.sources import health, sources
from webapp.services.sources.health import SourceState
from webapp.severity import Severity

CHECKED = {"checked_at": utcnow(), "refreshed_at": utcnow(), "index_updated_at": utcnow()}
BROKEN = {**CHECKED, "error_code": "http-timeout", "error_what": "No answer.",
          "error_next_step": "Check the mirror."}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "state", "severity", "next_step"),
    [
        (CHECKED, SourceState.OK, Severity.OK, ""),
        ({**CHECKED, "checked_at": None}, SourceState.CHECKING, Severity.BUSY, "worker"),
        (
            {**CHECKED, "index_updated_at": utcnow() - timedelta(days=40)},
            SourceState.STALE,
            Severity.WARN,
            "mirror is still being updated",
        ),
        (BROKEN, SourceState.UNREADABLE, Severity.ERROR, "Check the mirror."),
        ({**BROKEN, "is_enabled": False}, SourceState.OFF, Severity.OFF, ""),
    ],
)
def test_every_surface_says_the_same_of_a_source(
    app: Flask,
    values: dict[str, Any],
    state: SourceState,
    severity: Severity,
    next_step: str,
) -> None:
    with app.app_context():
        factories.boot_source(**values)
        db.session.commit()
        source = sources.all_sources()[0]
        found = health.judge(source)
        checks = {check.name: check for check in overview_health.run_checks()}
        overview = status.overview()
    check = checks[f"boot source {source.id}"]
    assert (found.state, found.severity, check.severity) == (state, severity, severity)
    assert next_step in check.next_step
    assert bool(check.next_step) is bool(next_step)
    assert found.text in check.found
    assert overview.sources[0]["state"] == state
    of_source = [one for one in overview.problems if one["code"] != "images-missing"]
    assert bool(of_source) is (state == SourceState.UNREADABLE)
    assert found.text in text_of(Visitor(app, Role.VIEWER).get("/sources/"))
