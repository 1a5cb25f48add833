# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import update

from tests.rack import images
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import Blob, Event, utcnow
from webapp.services.blobs import scrubbing

pytestmark = pytest.mark.settings(scrub_rate=0)


@pytest.fixture(autouse=True)
def image(region: Flask) -> None:
    images.image()
    db.session.execute(update(Blob).values(checked_at=utcnow()))
    db.session.commit()


def test_a_viewer_sees_what_is_stored_and_starts_nothing(viewer: Visitor) -> None:
    page = viewer.get("/storage/")
    assert "3 files" in page.text
    assert "All stored files are intact" in page.text
    assert "Check all files now" not in page.text
    assert viewer.post("/storage/check").status_code == 403


def test_an_operator_starts_a_check_and_the_page_follows_it(operator: Visitor) -> None:
    assert "Check all files now" in operator.get("/storage/").text
    assert operator.post("/storage/check").status_code == 303
    page = operator.get("/storage/")
    assert 'id="store-check" data-poll' in page.text
    assert "0 of 3 files" in page.text
    scrubbing.work(lambda: False)
    page = operator.get("/storage/")
    assert 'id="store-check" data-poll' not in page.text
    assert "Last check: 3 files" in page.text
    kinds = [event.kind for event in db.session.query(Event)]
    assert "scrub.requested" in kinds


def test_damaged_files_are_listed_with_what_to_do(viewer: Visitor) -> None:
    first = db.session.query(Blob.id).order_by(Blob.id).limit(1).scalar()
    db.session.execute(update(Blob).where(Blob.id == first).values(state="bad"))
    db.session.commit()
    page = viewer.get("/storage/")
    assert "ubuntu/noble amd64/ga-24.04" in page.text
    assert "Start an import" in page.text
