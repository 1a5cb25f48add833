# SPDX-License-Identifier: Apache-2.0
"""What will happen: the plan on its page, and starting exactly that one."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support import crowd, factories
from tests.support.crowd import Crowd
from tests.web.images.boxes import offer
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.extensions import db
from webapp.models import BootSource, ImportRun, utcnow
from webapp.web import imports


@pytest.fixture
def source(region: object) -> BootSource:
    """A source that offers noble, which is selected, and jammy, which isn't."""
    found = factories.boot_source(name="lab", checked_at=utcnow(), refreshed_at=utcnow())
    for release, version in (("noble", "24.04"), ("jammy", "22.04")):
        offer(found, release=release, arch="amd64", release_version=version)
    factories.selection(found)
    return found


def test_the_plan_says_what_comes_and_why_and_is_started_as_it_was_seen(
    source: BootSource, operator: Visitor
) -> None:
    assert 'href="/imports/plan"' in operator.get("/imports/").text
    page = operator.get("/imports/plan")
    words = text_of(page)
    assert "ubuntu/noble" in words
    assert "the selection ubuntu/noble asks for it" in words
    assert "no selection asks for ubuntu/jammy" not in words
    assert "no selection asks for ubuntu/jammy" in text_of(operator.get("/imports/plan?all=1"))
    found = re.search(r'name="plan" value="([0-9a-f]{64})"', page.text)
    assert found is not None
    stale = operator.post("/imports/start", {"plan": "0" * 64})
    assert stale.status_code == 409
    assert db.session.scalar(db.select(ImportRun.id)) is None
    assert leads_to(operator.post("/imports/start", {"plan": found[1]})) == "/imports/"
    run = db.session.scalars(db.select(ImportRun)).one()
    assert (run.is_approved, run.state) == (True, "queued")


def test_an_image_is_imported_alone_and_comes_first(source: BootSource, operator: Visitor) -> None:
    page = operator.get("/images/")
    assert re.search(r'aria-label="Import [^"]* amd64 now"', page.text)
    path = "/imports/start/ubuntu/noble/amd64"
    assert f'action="{path}"' in page.text
    assert leads_to(operator.post(path)) == "/images/"
    run = db.session.scalars(db.select(ImportRun)).one()
    assert run.only_images == [{"name": "ubuntu/noble", "arch": "amd64"}]
    assert "has started" in text_of(operator.get("/images/"))
    assert "Only ubuntu/noble amd64" in text_of(operator.get(f"/imports/{run.id}"))
    here = "/images/ubuntu/noble/amd64/priority"
    assert f'href="{here}?next=plan"' in operator.get("/imports/plan").text
    assert "Downloaded before all others, after boot loaders" in text_of(operator.get(here))
    assert operator.post(here, {"priority": "soon"}).status_code == 422
    assert 'href="/imports/plan"' in operator.get(f"{here}?next=plan").text
    assert leads_to(operator.post(f"{here}?next=plan", {"priority": "high"})) == "/imports/plan"
    assert leads_to(operator.post(here, {"priority": "high"})) == "/images/ubuntu/noble/amd64"
    assert "High" in text_of(operator.get("/imports/plan"))
    assert "High priority" in text_of(operator.get("/images/"))


def test_viewers_see_the_plan_and_start_nothing(source: BootSource, viewer: Visitor) -> None:
    page = viewer.get("/imports/plan")
    assert page.status_code == 200
    assert 'name="plan"' not in page.text
    assert viewer.post("/imports/start", {"plan": "0" * 64}).status_code == 403
    assert viewer.post("/imports/start/ubuntu/noble/amd64").status_code == 403
    assert viewer.get("/images/ubuntu/noble/amd64/priority").status_code == 403
    assert "Import now" not in viewer.get("/images/").text


def test_a_runs_plan_files_and_sources_stay_in_the_history(region: object, viewer: Visitor) -> None:
    plan: dict[str, object] = {
        "actions": [
            {
                "kind": "add",
                "name": "ubuntu/noble",
                "architecture": "amd64/ga-24.04",
                "version": "2",
                "why": "it was selected",
                "source": "http://mirror/",
            }
        ],
        "retire": [{"name": "ubuntu/focal", "architecture": "amd64/ga", "why": "not selected"}],
        "wait": [],
        "keep": [],
        "changes": ["ubuntu/jammy would be removed"],
        **dict.fromkeys(("bytes_to_fetch", "bytes_held", "used", "peak"), 5),
    }
    ids = [factories.import_run(state="succeeded", finished_at=utcnow()).id for _ in range(51)]
    run = db.session.get_one(ImportRun, ids[0])
    run.plan, run.is_approved = plan, True
    db.session.commit()
    first = viewer.get("/imports/history")
    assert f'href="/imports/{ids[-1]}"' in first.text
    assert f'href="/imports/{ids[0]}"' not in first.text
    assert f'href="/imports/history?before={ids[1]}"' in first.text
    assert f'href="/imports/{ids[0]}"' in viewer.get(f"/imports/history?before={ids[1]}").text
    words = text_of(viewer.get(f"/imports/{ids[0]}"))
    for part in ("Approved by a user", "version 2", "it was selected", "ubuntu/focal", "would be"):
        assert part in words
    assert viewer.get("/imports/history?before=x").status_code == 200


def test_of_many_images_that_it_keeps_the_plan_shows_some(
    app: Flask, viewer: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "KEPT", 10)
    with app.app_context():
        crowd.add(Crowd(images=12, events=0, racks=0, runs=0))
        db.session.remove()
    page = viewer.get("/imports/plan")
    assert page.text.count("image-000") == 10
    assert "Show all 12 images that it keeps" in text_of(page)
    assert viewer.get("/imports/plan?all=1").text.count("image-000") == 12
