# SPDX-License-Identifier: Apache-2.0
"""The page on which administrators set how fast and when imports run."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support import factories
from tests.support.scenery import closed_window
from tests.web.images.boxes import offer
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import utcnow
from webapp.services.imports import runs
from webapp.services.system import live_settings


def test_a_limit_is_set_and_shown_beside_the_speed(region: Flask, administrator: Visitor) -> None:
    assert "Download speed isn't limited at the moment." in text_of(administrator.get("/imports/"))
    assert 'value="22:00-06:00"' in administrator.get("/imports/timing/").text
    form = {"import_rate": "5 MB/s", "import_night_rate": " 5000 kB/s "}
    assert administrator.post("/imports/timing/", form).status_code == 303
    db.session.rollback()
    assert live_settings.read("import_night_rate") == "5000 kB/s"
    assert live_settings.read("import_night_hours") == "22:00-06:00"
    page = text_of(administrator.get("/imports/"))
    assert "Schedule and speed saved." in page
    assert "Downloads are limited to 5.0 MB/s at the moment." in page


def test_what_cannot_be_used_is_named_at_its_field_and_nothing_is_saved(
    region: Flask, administrator: Visitor
) -> None:
    form = {"import_rate": "5 MB/s", "import_time_zone": "Mars", "import_schedule": "often"}
    page = administrator.post("/imports/timing/", form)
    assert page.status_code == 422
    assert "'Mars' isn't a time zone. Enter a name, e.g. UTC" in text_of(page).replace("&#39;", "'")
    assert "'often' isn't a schedule. Enter e.g. 6 hours" in text_of(page).replace("&#39;", "'")
    assert 'value="5 MB/s"' in page.text
    db.session.rollback()
    assert live_settings.read("import_rate") == "0"


def test_only_administrators_set_it(operator: Visitor) -> None:
    assert operator.get("/imports/timing/").status_code == 403
    assert operator.post("/imports/timing/", {"import_rate": "1 MB/s"}).status_code == 403
    assert "/imports/timing/" not in operator.get("/imports/").text


def test_a_schedule_is_shown_with_the_next_import(region: Flask, administrator: Visitor) -> None:
    factories.boot_source()
    factories.import_run(started_at=utcnow())
    form = {"import_schedule": "5 hours"}
    assert administrator.post("/imports/timing/", form).status_code == 303
    page = text_of(administrator.get("/imports/"))
    assert "Sources are checked on the schedule 5 hours for new versions." in page
    assert "Next import: in 4 hours" in page


@pytest.mark.parametrize("path", ["/imports/start", "/imports/start/ubuntu/noble/amd64"])
def test_a_start_outside_the_windows_is_asked_about_first(
    region: Flask, operator: Visitor, path: str
) -> None:
    live_settings.change("import_windows", closed_window(), "ada")
    source = factories.boot_source(refreshed_at=utcnow())
    offer(source, release="noble", arch="amd64", release_version="24.04")
    factories.selection(source)
    asked = operator.post(path).headers["Location"]
    assert asked.startswith("/imports/outside")
    assert runs.current() is None
    page = operator.get(asked)
    assert re.search(r"The next one opens in \d hours ?. An import", text_of(page))
    assert f'action="{path}"' in page.text
    assert operator.post(path, {"now": "yes"}).status_code == 303
    run = runs.current()
    assert run is not None
    assert (run.state, run.is_attended) == ("queued", True)
