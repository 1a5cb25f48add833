# SPDX-License-Identifier: Apache-2.0
"""``/soak`` of a boot source and of an image (rule: soak-time)."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from tests.web.images.boxes import offer
from webapp.extensions import db
from webapp.models import utcnow


def test_soak_times_are_read_and_set_and_decide_the_plan(app: Flask, program: Typed) -> None:
    today = f"{utcnow():%Y%m%d}"
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow(), refreshed_at=utcnow())
        offer(source, arch="amd64", release_version="24.04", version=today)
        factories.selection(source)
        of_source, of_image = f"sources/{source.id}/soak", "images/ubuntu/noble/amd64/soak"
        db.session.remove()
    assert program.get(of_source) == program.get(of_image) == {"days": None}
    assert program.call("PUT", of_source, {"days": 30}).json == {"days": 30}
    plan = program.get("plan")
    due = str((utcnow() + timedelta(days=30)).date())
    assert [(one["name"], one["due"]) for one in plan["later"]] == [("ubuntu/noble", due)]
    assert (plan["fetch"], plan["keep"]) == ([], [])
    assert program.call("PUT", of_image, {"days": 0}).json == {"days": 0}
    assert [one["name"] for one in program.get("plan")["fetch"]] == ["ubuntu/noble"]
    assert program.call("PUT", of_image, {"days": None}).json == {"days": None}
    assert len(program.get("plan")["later"]) == 1
    assert program.call("PUT", of_image, {"days": 366}).status_code == 422
    assert program.call("PUT", of_source, {}).status_code == 422
    assert program.call("PUT", "images/ubuntu/warty/amd64/soak", {"days": 1}).status_code == 404
