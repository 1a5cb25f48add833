# SPDX-License-Identifier: Apache-2.0
"""The page on which administrators set how fast and when imports run."""

from __future__ import annotations

from flask import Flask

from tests.support import factories
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import utcnow
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
