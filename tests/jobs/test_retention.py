# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.jobs.conftest import Lab, check_region, failures, files, images
from tests.support import factories
from tests.support.databases import Queries, counted
from webapp.config import Settings
from webapp.errors import NotFound
from webapp.extensions import db, settings, store
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    Event,
    FileTransfer,
    ImportRun,
    ResourceFile,
    ResourceSet,
    utcnow,
)
from webapp.services.blobs import checking, deletion, retention
from webapp.services.imports import delete_preview, runs
from webapp.services.overview import upkeep
from webapp.storage.leases import new_owner

pytestmark = pytest.mark.usefixtures("region")

NOBLE, LOW = "ubuntu/noble amd64/ga-24.04", "ubuntu/noble amd64/ga-24.04-lowlatency"


def put(content: bytes, **values: object) -> Blob:
    """A blob with its bytes in the store."""
    row = factories.blob(content, **values)
    with store().writer(row.sha256, row.size) as writer:
        writer.write(content)
        writer.commit()
    return row


def later(seconds: float) -> None:
    """Let time pass for everything that was retired."""
    past = utcnow() - timedelta(seconds=seconds)
    db.session.execute(
        update(ResourceSet).where(ResourceSet.retired_at.is_not(None)).values(retired_at=past)
    )
    db.session.execute(update(BootResource).values(updated_at=past))
    db.session.commit()


def digests() -> set[str]:
    return set(store().digests())


def resource_id(image: str) -> int:
    name, architecture = image.split(" ")
    found = db.session.scalar(
        select(BootResource.id).where(
            BootResource.name == name, BootResource.architecture == architecture
        )
    )
    assert found is not None
    return found


# -- replaced and removed images


@pytest.mark.both_databases
def test_a_replaced_version_is_freed_after_its_grace_and_shared_bytes_stay(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    old = set(files(NOBLE).values()) | set(files(LOW).values())
    lab.mirror.publish_next()
    lab.run()
    later(settings().retire_grace - 60)
    assert retention.clean_up() == retention.Freed()
    assert old <= digests()
    later(settings().retire_grace + 60)
    freed = retention.clean_up()
    assert (freed.sets, freed.blobs) == (2, len(old))
    assert digests() == {d for name in images() for d in files(name).values()}
    assert db.session.scalar(select(Blob.id).where(Blob.state == BlobState.DELETING)) is None
    assert retention.clean_up() == retention.Freed()
    check_region()


def test_a_version_in_use_as_the_current_one_is_never_freed(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    db.session.execute(update(ResourceSet).values(retired_at=utcnow() - timedelta(days=9)))
    db.session.commit()
    assert retention.clean_up() == retention.Freed()
    check_region()


def test_a_deleted_image_is_gone_at_once_and_its_bytes_after_the_grace(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    shared, own = files(LOW)["squashfs"], files(LOW)["boot-kernel"]
    retention.delete_resources([resource_id(LOW)], "ann")
    assert set(images()) == {NOBLE}
    assert own in digests()
    event = db.session.scalar(select(Event).where(Event.kind == "image.removed"))
    assert event is not None
    assert (event.actor, event.subject) == ("ann", LOW)
    later(settings().retire_grace + 60)
    retention.clean_up()
    assert own not in digests()
    assert shared in digests()
    assert db.session.scalar(select(BootResource.id).where(BootResource.name == LOW)) is None
    assert len(list(db.session.scalars(select(BootResource)))) == 1
    check_region()


def test_a_deleted_image_comes_back_while_it_is_selected_without_a_byte(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    retention.delete_resources([resource_id(LOW)], "ann")
    lab.server.reset()
    lab.run()
    assert set(images()) == {NOBLE, LOW}
    assert not lab.fetched()


def test_deleting_what_is_not_there_is_said_and_changes_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    with pytest.raises(NotFound):
        retention.delete_resources([resource_id(NOBLE), 4711], "ann")
    assert images() == before


def test_an_uploaded_image_can_be_deleted_by_an_administrator_only(region: Flask) -> None:
    made = factories.boot_resource(os="custom", release="mine", rtype="uploaded", source_id=None)
    mine = made.id
    later(10**6)
    retention.clean_up()
    assert list(db.session.scalars(select(BootResource.id))) == [mine]
    retention.delete_resources([mine], "ann")
    later(10**6)
    retention.clean_up()
    assert list(db.session.scalars(select(BootResource.id))) == []


# -- what a delete would do


def test_the_preview_says_what_is_freed_shared_used_and_comes_back(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    wanted = lab.wanted(release="noble")
    shared = wanted[files(NOBLE)["squashfs"]]
    db.session.add_all(
        Event(kind="image.fetched", actor=actor, subject=subject)
        for actor, subject in (
            ("10.0.0.1", "ubuntu/amd64/ga-24.04/noble/stable/squashfs"),
            ("10.0.0.1", "ubuntu/amd64/generic/noble/stable/boot-kernel"),
            ("10.0.0.2", "ubuntu/amd64/ga-24.04/noble/stable/squashfs"),
            ("10.0.0.3", "ubuntu/amd64/ga-22.04/jammy/stable/squashfs"),
        )
    )
    db.session.commit()
    one = delete_preview.delete_preview([resource_id(LOW)])
    own = sum(wanted[digest] for name, digest in files(LOW).items() if name != "squashfs")
    assert (one.frees, one.shared, one.comes_back) == (own, shared, (LOW,))
    assert one.used_by == 2
    both = delete_preview.delete_preview([resource_id(NOBLE), resource_id(LOW)])
    assert (both.frees, both.shared) == (sum(wanted.values()), 0)
    lab.unselect("noble")
    assert delete_preview.delete_preview([resource_id(LOW)]).comes_back == ()


def test_the_preview_takes_a_few_queries_however_many_images(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    ids = [resource_id(NOBLE), resource_id(LOW)]

    def cost(chosen: list[int]) -> Queries:
        with counted() as queries:
            delete_preview.delete_preview(chosen)
        return queries

    assert len(cost(ids)) == len(cost(ids[:1])) <= 7


# -- races


def test_bytes_that_an_import_waits_for_are_fetched_again_after_their_deletion(
    lab: Lab, region: Flask
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

    def finish() -> None:
        time.sleep(0.5)
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


# -- history


def test_old_events_and_runs_are_forgotten(region: Flask) -> None:
    old, young = utcnow() - timedelta(days=91), utcnow() - timedelta(days=89)
    for at in (old, young):
        factories.saved(Event(kind="x", at=at))
        run = factories.import_run(finished_at=at, started_at=at)
        factories.file_transfer(run)
    upkeep.reconcile()
    assert len(list(db.session.scalars(select(Event).where(Event.kind == "x")))) == 1
    assert (
        len(list(db.session.scalars(select(ImportRun).where(ImportRun.finished_at < young)))) == 0
    )
    assert len(list(db.session.scalars(select(FileTransfer)))) == 1


@pytest.mark.both_databases
@pytest.mark.settings(store="database")
def test_the_database_can_be_the_store(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(sizes={"squashfs": 3 << 20})
    lab.select("noble")
    assert lab.run().state == "succeeded"
    check_region()
    old = set(files(NOBLE).values())
    lab.mirror.publish_next()
    assert lab.run().state == "succeeded"
    later(settings().retire_grace + 60)
    retention.clean_up()
    assert not old & digests()
    check_region()
