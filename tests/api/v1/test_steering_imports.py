# SPDX-License-Identifier: Apache-2.0
"""By the typed API: pause and resume an import, and give a boot source a schedule."""

from __future__ import annotations

import base64

from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from tests.support.scenery import closed_window
from tests.support.signed import SigningKey
from webapp.models import utcnow
from webapp.services.imports import runs
from webapp.services.system import live_settings


def test_a_second_start_names_the_import_that_runs(program: Typed) -> None:
    first, second = (program.call("POST", "imports") for _ in range(2))
    assert [answer.status_code for answer in (first, second)] == [202, 202]
    assert (first.json["is_new"], second.json["is_new"]) == (True, False)
    assert first.json["id"] == second.json["id"]
    assert len(program.get("imports")["items"]) == 1


def test_an_import_is_paused_and_resumed(app: Flask, program: Typed) -> None:
    for action in ("pause", "resume"):
        assert program.call("POST", f"imports/{action}").status_code == 404
    with app.app_context():
        runs.queue("manual", "ann")
    assert program.call("POST", "imports/pause").status_code == 202
    assert program.get("imports/current")["run"]["hold"] == "user"
    assert program.call("POST", "imports/resume").status_code == 202
    assert program.get("imports/current")["run"]["hold"] == ""


def test_a_source_gets_a_schedule_of_its_own(program: Typed, signing_key: SigningKey) -> None:
    key = base64.b64encode(signing_key.public).decode()
    made = program.call("POST", "sources", {"url": "http://127.0.0.1:9/", "keyring": key})
    path = f"sources/{made.json['id']}"
    refused = program.call("PATCH", path, {"schedule": "often"})
    assert "e.g. 6 hours" in refused.json["errors"]["schedule"][0]
    assert program.call("PATCH", path, {"schedule": " 6 hours "}).json["schedule"] == "6 hours"
    assert program.call("PATCH", path, {"schedule": ""}).json["schedule"] == ""


def test_a_start_outside_the_windows_says_so_and_is_refused_on_request(
    app: Flask, program: Typed
) -> None:
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
        factories.cache_entry(source)
        factories.selection(source)
        live_settings.change("import_windows", closed_window(), "ada")
    for path in ("imports", "images/ubuntu/noble/amd64/import"):
        refused = program.call("POST", path, {"can_run_outside_windows": False})
        assert (refused.status_code, refused.json["code"]) == (409, "outside-windows")
        assert program.get("imports/current")["is_importing"] is (path != "imports")
        started = program.call("POST", path)
        assert (started.status_code, started.json["is_outside_windows"]) == (202, True)
    with app.app_context():
        live_settings.change("import_windows", "", "ada")
    started = program.call("POST", "imports", {"can_run_outside_windows": False})
    assert (started.status_code, started.json["is_outside_windows"]) == (202, False)
