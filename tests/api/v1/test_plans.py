# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/plan``: the same plan as on the page, and a run of exactly that one."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from tests.web.images.boxes import offer
from webapp.extensions import db
from webapp.models import utcnow


@pytest.fixture
def source(app: Flask) -> None:
    """A source that offers noble, which is selected, and jammy, which isn't."""
    with app.app_context():
        found = factories.boot_source(name="lab", checked_at=utcnow(), refreshed_at=utcnow())
        for release, version in (("noble", "24.04"), ("jammy", "22.04")):
            offer(found, release=release, arch="amd64", release_version=version)
        factories.selection(found)
        db.session.remove()


def test_a_plan_is_read_and_started_and_stays_with_its_run(program: Typed, source: None) -> None:
    plan = program.get("plan?has_unwanted=true")
    [one] = plan["fetch"]
    assert (one["kind"], one["name"], one["before"]) == ("add", "ubuntu/noble", "")
    assert plan["bytes_peak"] == plan["bytes_used"] + plan["bytes_to_fetch"] > 0
    assert [out["name"] for out in plan["out"]] == ["ubuntu/jammy"]
    assert program.get("plan")["out"] == []
    refused = program.call("POST", "imports", {"plan": "0" * 64})
    assert (refused.status_code, refused.json["code"]) == (409, "plan-changed")
    assert program.get("imports")["items"] == []
    run = program.call("POST", "imports", {"plan": plan["digest"]}).json
    kept = program.get(f"imports/{run['id']}")
    assert (kept["state"], kept["is_approved"]) == ("queued", True)
    assert kept["plan"]["digest"] == plan["digest"]
    assert [action["name"] for action in kept["plan"]["actions"]] == ["ubuntu/noble"]
