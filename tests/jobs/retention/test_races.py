# SPDX-License-Identifier: Apache-2.0
"""Freeing bytes beside imports, after crashes and with rows that don't match the store."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.jobs.conftest import Lab, check_region, failures, files
from tests.jobs.retention.later import NOBLE, digests, later
from tests.support import factories
from webapp.config import Settings
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    Event,
    FileTransfer,
    ImportRun,
    ResourceFile,
    utcnow,
)
from webapp.services.blobs import checking, deletion, retention
from webapp.services.imports import runs
from webapp.storage.leases import new_owner

pytestmark = pytest.mark.usefixtures("region")


def put(content: bytes, **values: object) -> Blob:
    """A blob with its bytes in the store."""
    row = factories.blob(content, **values)
    with store().writer(row.sha256, row.size) as writer:
        writer.write(content)
        writer.commit()
    return row


# -- races


def test_bytes_that_an_import_waits_for_are_fetched_again_after_their_deletion(
    lab: Lab, region: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.select("noble")
    lab.run()
    digest = files(NOBLE)["squashfs"]
    for row in db.session.scalars(select(BootResource)):
        db.session.delete(row)
    db.session.commit()
    # A deletion that has begun, by a process that is still at it.
    db.session.execute(
        update(Blob).where(Blob.sha256 == digest).values(state="deleting", verified_at=utcnow())
    )
    db.session.commit()

    is_waiting = threading.Event()
    finish_abandoned = deletion.finish_deletions

    def note_the_wait() -> int:
        is_waiting.set()
        return finish_abandoned()

    monkeypatch.setattr(deletion, "finish_deletions", note_the_wait)

    def finish() -> None:
        assert is_waiting.wait(60)
        with region.app_context():
            store().delete(digest)
            db.session.execute(Blob.__table__.delete().where(Blob.sha256 == digest))
            db.session.commit()

    lab.server.reset()
    other = threading.Thread(target=finish)
    other.start()
    run = lab.run()
    other.join()
    assert (run.state, failures(run)) == ("succeeded", [])
    assert sum(lab.fetched().values()) == 1
    check_region()


def test_a_deletion_whose_process_died_is_finished(lab: Lab) -> None:
    row = put(b"left behind", state="deleting", verified_at=utcnow())
    sha256, blob_id = row.sha256, row.id
    assert deletion.finish_deletions() == 0
    db.session.execute(update(Blob).values(verified_at=utcnow() - timedelta(minutes=2)))
    db.session.commit()
    assert deletion.finish_deletions() == 1
    assert sha256 not in digests()
    assert db.session.get(Blob, blob_id, populate_existing=True) is None


@pytest.mark.both_databases
def test_clean_up_beside_imports_never_removes_what_is_named(lab: Lab, region: Flask) -> None:
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    is_over = threading.Event()
    broken: list[BaseException] = []

    def clean() -> None:
        try:
            while not is_over.is_set():
                with region.app_context():
                    later(10**6)
                    retention.clean_up()
                    checking.check_store()
        except BaseException as error:
            broken.append(error)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for number in range(8):
            if number % 2:
                lab.unselect("noble")
            elif number:
                lab.select("noble")
            if number % 3 == 0:
                lab.mirror.publish_next()
            run = lab.run()
            assert [failure.code for failure in failures(run)] == []
            check_region()
    finally:
        is_over.set()
        cleaner.join()
    assert not broken
    while lab.run().sets_published:
        continue
    later(10**6)
    retention.clean_up()
    named = db.session.scalars(select(Blob.sha256).join(ResourceFile)).all()
    assert digests() == set(named)


def test_an_active_run_keeps_the_bytes_that_it_wants() -> None:
    run = runs.queue("manual", "ann")
    runs.claim(new_owner())
    wanted = put(b"wanted", verified_at=utcnow() - timedelta(days=30))
    factories.file_transfer(run, blob_id=wanted.id, sha256=wanted.sha256)
    put(b"loose", verified_at=utcnow() - timedelta(days=30))
    assert retention.clean_up().blobs == 1
    assert digests() == {wanted.sha256}


# -- tables and store


def test_bytes_of_an_unfinished_image_are_kept_for_a_week_after_the_last_run_wanted_them() -> None:
    row = put(b"half an image")
    run = factories.import_run(queued_at=utcnow() - timedelta(days=6))
    factories.file_transfer(run, blob_id=row.id, sha256=row.sha256)
    db.session.execute(update(Blob).values(verified_at=utcnow() - timedelta(days=30)))
    db.session.commit()
    assert retention.clean_up().blobs == 0
    db.session.execute(update(ImportRun).values(queued_at=utcnow() - timedelta(days=8)))
    db.session.commit()
    assert retention.clean_up().blobs == 1
    assert db.session.scalar(select(FileTransfer.blob_id)) is None


def test_bytes_without_a_row_get_one_and_are_freed_in_their_time(lab: Lab) -> None:
    row = put(b"stray")
    sha256 = row.sha256
    db.session.delete(row)
    db.session.commit()
    checking.check_store()
    checking.check_store()
    found = db.session.scalars(select(Blob)).one()
    assert (found.sha256, found.size, found.state) == (sha256, 5, BlobState.STRAY)
    assert retention.clean_up().blobs == 0
    db.session.execute(update(Blob).values(created_at=utcnow() - timedelta(days=8)))
    db.session.commit()
    assert retention.clean_up().blobs == 1
    assert digests() == set()


def test_a_row_whose_bytes_are_gone_is_bad_and_an_event_names_it(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    digest = files(NOBLE)["boot-kernel"]
    store().delete(digest)
    checking.check_store()
    assert db.session.scalar(select(Blob.state).where(Blob.sha256 == digest)) == BlobState.BAD
    event = db.session.scalar(select(Event).where(Event.kind == "blob.damaged"))
    assert event is not None
    assert (event.subject, event.detail["fault"]) == (digest, "missing")


def test_old_unfinished_files_are_dropped_and_young_or_wanted_ones_kept(
    settings: Settings, region: Flask
) -> None:
    contents = {name: (name * 10).encode() for name in ("young", "old", "wanted")}
    rows = {name: factories.blob(content, state="wanted") for name, content in contents.items()}
    for name, row in rows.items():
        with store().writer(row.sha256, row.size) as writer:
            writer.write(contents[name][:5])
            writer.flush()
    ages = {partial.sha256: partial for partial in store().partials()}
    assert len(ages) == 3
    long_ago = time.time() - 8 * 86400
    for name in ("old", "wanted"):
        for path in settings.store_dir.rglob(f"*{rows[name].sha256}*"):
            os.utime(path, (long_ago, long_ago))
    run = runs.queue("manual", "ann")
    factories.file_transfer(run, blob_id=rows["wanted"].id, sha256=rows["wanted"].sha256)
    checking.check_store()
    left = {partial.sha256 for partial in store().partials()}
    assert left == {rows["young"].sha256, rows["wanted"].sha256}


def test_foreign_files_in_the_store_are_left_alone(settings: Settings, region: Flask) -> None:
    foreign = settings.store_dir / "lost+found" / "mine"
    foreign.parent.mkdir()
    foreign.write_bytes(b"mine")
    checking.check_store()
    retention.clean_up()
    assert foreign.read_bytes() == b"mine"
