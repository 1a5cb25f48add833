# SPDX-License-Identifier: Apache-2.0
"""Bytes that rot are found, never served, and healed without a restart."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from tests.jobs import rotten
from tests.jobs.conftest import Lab, carry_out, check_region, failures, files
from tests.support.partials import stopped_after_the_first_chunk
from webapp.extensions import db, settings, store
from webapp.models import Blob, BlobState, BootResource, BootSource, Event, utcnow
from webapp.services.blobs import checking, damage, retention, scrubbing
from webapp.services.images import listing
from webapp.services.images.status import Status
from webapp.services.overview import health
from webapp.services.sources import catalogue
from webapp.severity import Severity
from webapp.storage.errors import BlobMissing

NOBLE = "ubuntu/noble amd64/ga-24.04"
KERNEL = "/images/ubuntu/amd64/ga-24.04/noble/stable/boot-kernel"
STORES = [
    pytest.param("filesystem", marks=pytest.mark.settings(store="filesystem")),
    pytest.param("database", marks=pytest.mark.settings(store="database")),
]
# What a row holds beyond its blob's size is never read.
EVERY = [
    pytest.param(*store.values, kind, marks=store.marks)
    for store in STORES
    for kind in rotten.KINDS
    if (*store.values, kind) != ("database", "extend")
]

pytestmark = [pytest.mark.usefixtures("region"), pytest.mark.settings(scrub_rate=0)]
both_stores = pytest.mark.parametrize("kind_of_store", STORES)


@pytest.fixture
def machine(make_app: Callable[[str], Flask]) -> Iterator[FlaskClient]:
    """A machine that fetches from this region's rack."""
    app = make_app("rack")
    yield app.test_client()
    app.extensions["slipway.rack"].close()


@pytest.fixture
def kernel(lab: Lab) -> str:
    """The digest of a kernel that machines get."""
    lab.select("noble")
    assert lab.run().state == "succeeded"
    return files(NOBLE)["boot-kernel"]


def scrub() -> None:
    """Read everything again, as the worker does."""
    scrubbing.request("ann")
    scrubbing.work(lambda: False)


def state(sha256: str) -> str:
    db.session.expire_all()
    return db.session.scalars(select(Blob.state).where(Blob.sha256 == sha256)).one()


def fault(sha256: str) -> str:
    return db.session.scalars(select(Blob.fault).where(Blob.sha256 == sha256)).one()


def fetch(machine: FlaskClient) -> tuple[int, str]:
    """The status of a fetch and the digest of what came."""
    machine.application.extensions["slipway.rack"].published.names(refresh=True)
    with machine.get(KERNEL, buffered=True) as answer:
        return answer.status_code, hashlib.sha256(answer.data).hexdigest()


def check(name: str) -> health.Check:
    return next(found for found in health.run_checks() if found.name == name)


@pytest.mark.parametrize(("kind_of_store", "kind"), EVERY)
def test_every_kind_of_rot_is_found_not_served_and_healed(
    kind_of_store: str, kind: str, lab: Lab, machine: FlaskClient, kernel: str
) -> None:
    assert fetch(machine) == (200, kernel)
    rotten.damage(kernel, kind)
    scrub()
    assert state(kernel) == BlobState.BAD
    assert fetch(machine)[0] == 503
    (image,) = [
        image
        for image in listing.listed(catalogue.read(datetime.now(UTC).date()))
        if image.name == "ubuntu/noble"
    ]
    assert image.status == Status.FAILED
    assert "damaged" in image.cause
    assert "import" in image.next_step
    found = check("integrity")
    assert found.severity == Severity.ERROR
    assert NOBLE in found.found
    run = lab.run()
    assert (run.state, run.sets_published) == ("succeeded", 0)
    assert (state(kernel), fault(kernel)) == (BlobState.READY, "")
    assert fetch(machine) == (200, kernel)
    assert check("integrity").severity == Severity.OK
    kinds = set(db.session.scalars(select(Event.kind)))
    assert {"blob.damaged", "blob.healed"} <= kinds
    check_region()


@pytest.mark.parametrize("kind", rotten.KINDS)
def test_a_changed_file_is_hashed_before_its_first_byte_goes_out(
    kind: str, machine: FlaskClient, kernel: str
) -> None:
    rotten.damage(kernel, kind, is_silent=False)
    assert fetch(machine)[0] == 503
    assert state(kernel) == BlobState.BAD
    event = db.session.scalars(select(Event).where(Event.kind == "blob.damaged")).one()
    assert (event.actor, event.subject) == ("rack", kernel)


@pytest.mark.parametrize("kind", rotten.KINDS)
def test_an_import_finds_a_changed_file_by_itself(kind: str, lab: Lab, kernel: str) -> None:
    rotten.damage(kernel, kind, is_silent=False)
    run = lab.run()
    assert run.state == "succeeded"
    assert state(kernel) == BlobState.READY
    check_region()


@both_stores
@pytest.mark.parametrize("kind", ["truncate", "delete"])
def test_bytes_that_a_machine_cannot_be_sent_are_reported(
    kind_of_store: str, kind: str, machine: FlaskClient, kernel: str
) -> None:
    rotten.damage(kernel, kind)
    if (kind_of_store, kind) == ("database", "truncate"):
        with pytest.raises(BlobMissing):  # the server cuts the body short of its length
            fetch(machine)
    else:
        assert fetch(machine)[0] == 503
    assert state(kernel) == BlobState.BAD
    assert fetch(machine)[0] == 503


def test_a_start_finds_files_of_a_wrong_size_and_hashes_changed_ones_first(kernel: str) -> None:
    other = files(NOBLE)["boot-initrd"]
    rotten.damage(kernel, "extend")
    rotten.damage(other, "flip", is_silent=False)
    checking.check_store()
    assert (state(kernel), fault(kernel)) == (BlobState.BAD, "size")
    assert state(other) == BlobState.READY
    scrubbing.work(lambda: False)
    assert (state(other), fault(other)) == (BlobState.BAD, "content")


def test_a_file_that_was_only_touched_is_served_and_noted(
    machine: FlaskClient, kernel: str
) -> None:
    path = settings().store_dir / str(store().relative_path(kernel))
    os.utime(path, ns=(1, 2))
    assert fetch(machine) == (200, kernel)
    db.session.expire_all()
    assert db.session.scalars(select(Blob.mtime_ns).where(Blob.sha256 == kernel)).one() == 2
    assert state(kernel) == BlobState.READY


def test_a_bad_file_does_not_come_back_with_an_image_within_the_grace(
    lab: Lab, kernel: str
) -> None:
    rotten.damage(kernel, "flip", is_silent=False)
    ids = [row.id for row in db.session.scalars(select(BootResource))]
    retention.delete_resources(ids, "ann")
    assert lab.run().state == "succeeded"
    assert files(NOBLE)["boot-kernel"] == kernel
    check_region()


def test_a_late_report_does_not_condemn_the_healed_copy(lab: Lab, kernel: str) -> None:
    old = checking.known_blobs(Blob.sha256 == kernel)[0]
    rotten.damage(kernel, "delete")
    lab.run()
    assert not damage.mark_bad(db.session.connection(), old, damage.BlobFault.MISSING, "rack")
    db.session.commit()
    assert state(kernel) == BlobState.READY


def rot_alone(lab: Lab, sha256: str) -> bytes:
    """Damage what no source offers, and find out; gives the right bytes."""
    with store().open(sha256) as reader:
        content = b"".join(reader.chunks())
    db.session.execute(update(BootResource).values(rtype="uploaded"))
    lab.unselect("noble")
    for source in db.session.scalars(select(BootSource)):
        source.is_enabled = False
    db.session.commit()
    rotten.damage(sha256, "flip")
    scrub()
    return content


def test_what_no_source_offers_is_healed_from_the_import_folder(lab: Lab, kernel: str) -> None:
    content = rot_alone(lab, kernel)
    run = lab.run()
    (failure, *_) = failures(run)
    assert failure.code == "blob-damaged"
    assert str(settings().import_dir) in failure.next_step
    assert state(kernel) == BlobState.BAD
    folder = settings().import_dir / "deep"
    folder.mkdir(parents=True)
    (folder / "other").write_bytes(bytes(len(content)))
    (folder / "vmlinuz").write_bytes(content)
    lab.run()
    assert state(kernel) == BlobState.READY
    check_region()


def test_a_worker_that_leaves_while_it_heals_hands_the_import_on(lab: Lab, kernel: str) -> None:
    content = rot_alone(lab, kernel)
    folder = settings().import_dir
    folder.mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(content)
    with store().writer(kernel, len(content)) as writer:
        writer.write(content[:1000])
    leaving = threading.Event()
    with stopped_after_the_first_chunk(leaving.set) as ended:
        run = lab.run(leaving.is_set)
    assert (run.finished_at, failures(run), ended) == (None, [], [])
    assert carry_out(run).state == "succeeded"
    assert state(kernel) == BlobState.READY
    check_region()


# -- the scrub


def test_a_scrub_continues_where_it_stopped(kernel: str) -> None:
    scrubbing.request("ann")
    total = scrubbing.status().files_total
    assert total > 2
    answers = iter([False] * 6 + [True] * 100)
    scrubbing.work(lambda: next(answers))
    halfway = scrubbing.status()
    assert 0 < halfway.files_done < total
    assert halfway.is_running
    scrubbing.work(lambda: False)
    done = scrubbing.status()
    assert (done.is_running, done.files_total, done.seconds_left) == (False, 0, None)
    assert done.all_checked_since is not None
    assert done.last_pass is not None
    assert done.last_pass["files"] == total - halfway.files_done
    assert done.last_pass["damaged"] == 0


def test_what_was_checked_long_ago_or_in_the_future_is_due(kernel: str) -> None:
    assert not scrubbing.status().is_running
    for at in (utcnow() - timedelta(days=31), utcnow() + timedelta(days=400), None):
        db.session.execute(update(Blob).where(Blob.sha256 == kernel).values(checked_at=at))
        db.session.commit()
        assert scrubbing.status().files_total == 1
        scrubbing.work(lambda: False)
        assert not scrubbing.status().is_running


@pytest.mark.settings(scrub_days=0)
def test_scrubbing_can_be_turned_off_but_not_asking_for_it(kernel: str) -> None:
    long_ago = utcnow() - timedelta(days=3000)
    db.session.execute(update(Blob).values(checked_at=long_ago))
    db.session.commit()
    assert not scrubbing.status().is_running
    scrubbing.request("ann", rate=0)
    assert scrubbing.status().is_running


def test_a_store_that_is_gone_condemns_nothing(machine: FlaskClient, kernel: str) -> None:
    folder = settings().store_dir
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    assert fetch(machine)[0] == 503
    scrub()
    assert state(kernel) == BlobState.READY
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    assert fetch(machine) == (200, kernel)
