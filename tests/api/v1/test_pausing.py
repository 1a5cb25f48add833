# SPDX-License-Identifier: Apache-2.0
"""Pausing and resuming an import by the typed API."""

from __future__ import annotations

from flask import Flask

from tests.api.v1.typed import Typed
from webapp.services.imports import runs


def test_an_import_is_paused_and_resumed(app: Flask, program: Typed) -> None:
    for action in ("pause", "resume"):
        assert program.call("POST", f"imports/{action}").status_code == 404
    with app.app_context():
        runs.queue("manual", "ann")
    assert program.call("POST", "imports/pause").status_code == 202
    assert program.get("imports/current")["run"]["hold"] == "user"
    assert program.call("POST", "imports/resume").status_code == 202
    assert program.get("imports/current")["run"]["hold"] == ""
