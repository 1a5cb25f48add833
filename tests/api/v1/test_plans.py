# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/plan``: the same plan as on the page, and a run of exactly that one."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from tests.web.images.boxes import offer
from webapp.extensions import db
from webapp.models import BootSource, utcnow


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
    (out,) = plan["out"]
    assert (out["name"], out["why"]) == ("ubuntu/jammy", "no selection asks for ubuntu/jammy")
    assert program.get("plan")["out"] == []
    refused = program.call("POST", "imports", {"plan": "0" * 64})
    assert (refused.status_code, refused.json["code"]) == (409, "plan-changed")
    assert program.get("imports")["items"] == []
    run = program.call("POST", "imports", {"plan": plan["digest"]}).json
    kept = program.get(f"imports/{run['id']}")
    assert (kept["state"], kept["is_approved"]) == ("queued", True)
    assert kept["plan"]["digest"] == plan["digest"]
    assert [action["name"] for action in kept["plan"]["actions"]] == ["ubuntu/noble"]


def test_a_plan_names_the_selection_that_leaves_an_image_out(
    app: Flask, program: Typed, source: None
) -> None:
    with app.app_context():
        row = db.session.scalars(db.select(BootSource)).one()
        factories.selection(row, release="jammy", arches=["arm64"])
        db.session.remove()
    (out,) = program.get("plan?has_unwanted=true")["out"]
    words = "the selection ubuntu/jammy leaves it out: its arches are arm64, this is amd64"
    assert (out["name"], out["why"]) == ("ubuntu/jammy", words)


def test_one_image_is_imported_alone_and_the_caller_learns_by_which_import(
    program: Typed, source: None
) -> None:
    here = "images/ubuntu/noble/amd64/import"
    first = program.call("POST", here)
    assert (first.status_code, first.json["outcome"]) == (202, "started")
    assert first.json["only_images"] == [{"name": "ubuntu/noble", "arch": "amd64"}]
    again = program.call("POST", here).json
    assert (again["id"], again["outcome"]) == (first.json["id"], "joined")
    assert "includes ubuntu/noble amd64 already" in again["message"]
    other = program.call("POST", "images/ubuntu/jammy/amd64/import")
    assert other.status_code == 409
    assert "This image isn't selected." in other.text
    assert program.get("imports")["items"][0]["only_images"] == first.json["only_images"]
    everything = program.call("POST", "imports", {}).json
    assert (everything["id"], everything["only_images"]) == (first.json["id"], None)


def test_an_image_has_a_priority_before_it_is_stored(program: Typed, source: None) -> None:
    here = "images/ubuntu/noble/amd64/priority"
    assert program.get(here) == {"priority": "normal"}
    assert program.call("PUT", here, {"priority": "high"}).json == {"priority": "high"}
    assert program.get(here) == {"priority": "high"}
    assert [one["priority"] for one in program.get("images")["items"]] == ["high"]
    assert program.call("PUT", here, {"priority": "soon"}).status_code == 422
    assert program.call("GET", "images/ubuntu/nope/amd64/priority").status_code == 404
