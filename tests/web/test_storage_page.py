# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask import Flask
from sqlalchemy import update

from tests.rack import images
from tests.support.databases import Queries
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db, store
from webapp.models import Blob, BootResource, Event, utcnow
from webapp.services.blobs import scrubbing
from webapp.services.overview import store as overview
from webapp.services.overview.room import Room, Share
from webapp.web.room_rows import share_rows

Count = Callable[[], AbstractContextManager[Queries]]
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
    assert "Last check, " in text_of(page)
    assert ": 3 files, " in page.text
    kinds = [event.kind for event in db.session.query(Event)]
    assert "scrub.requested" in kinds


def test_damaged_files_are_listed_with_what_to_do(viewer: Visitor) -> None:
    first = db.session.query(Blob.id).order_by(Blob.id).limit(1).scalar()
    db.session.execute(update(Blob).where(Blob.id == first).values(state="bad"))
    db.session.commit()
    page = viewer.get("/storage/")
    assert "ubuntu/noble amd64/ga-24.04" in page.text
    assert "Start an import" in page.text


def test_the_page_shows_what_takes_the_room_and_what_deleting_frees(
    viewer: Visitor, count_queries: Count
) -> None:
    images.image({"squashfs": b"root 1", "boot-kernel": b"another kernel"}, release="jammy")
    viewer.get("/storage/")
    with count_queries() as few:
        page = viewer.get("/storage/")
    words = text_of(page)
    assert "1. Current versions 30 bytes" in words
    assert "2. Shared 6 bytes" in words
    assert page.text.count("room-part") == 2
    row = words.partition("ubuntu/noble amd64 ")[2]
    assert row.startswith("22 bytes 0 bytes 6 bytes 16 bytes")
    for number in range(5):
        images.image(release=f"r{number}")
    with count_queries() as many:
        assert "ubuntu/r4 amd64" in text_of(viewer.get("/storage/"))
    assert len(many) == len(few), many


def test_older_versions_partial_files_and_the_bin_are_parts_of_the_room(
    region: Flask, viewer: Visitor
) -> None:
    noble = db.session.query(BootResource).one()
    images.switch(noble, {"squashfs": b"root 2"}, version="20260106")
    with store().writer("ab" * 32, 100) as writer:
        writer.write(b"x" * 40)
    words = text_of(viewer.get("/storage/"))
    assert "1. Current versions 6 bytes" in words
    assert "2. Older versions 22 bytes" in words
    assert "3. Partial downloads 40 bytes" in words


@pytest.mark.parametrize(
    ("kind", "words"), [("filesystem", "Files"), ("database", "Database"), ("s3", "S3 bucket")]
)
def test_the_kind_of_the_store_is_named(
    viewer: Visitor, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    held = overview.of_store() | {"kind": kind}
    monkeypatch.setattr(overview, "of_store", lambda: held)
    assert f"Kind {words} Stored" in text_of(viewer.get("/storage/"))


def test_a_tiny_part_at_the_end_is_still_inside_the_bar() -> None:
    rows = share_rows(Room({Share.CURRENT: 10**12, Share.DAMAGED: 1, Share.UNFINISHED: 1}))
    assert len(rows) == 3
    assert len({row.x for row in rows}) == 3
    assert all(row.x + row.width <= 1000 for row in rows)
