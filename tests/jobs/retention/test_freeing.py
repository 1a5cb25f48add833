# SPDX-License-Identifier: Apache-2.0
"""When the bytes of replaced and removed images are freed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.jobs.conftest import Lab, check_region, files, images
from tests.jobs.retention.later import LOW, NOBLE, digests, later
from tests.support import factories
from tests.support.databases import Queries, counted
from webapp.errors import NotFound
from webapp.extensions import db, settings
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    Event,
    FileTransfer,
    ImportRun,
    ResourceSet,
    Upload,
    utcnow,
)
from webapp.services.blobs import retention
from webapp.services.imports import delete_preview
from webapp.services.overview import upkeep

pytestmark = pytest.mark.usefixtures("region")


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
@pytest.mark.settings(keep_versions=1)
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


@pytest.mark.settings(bin_hours=0)
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
    left = db.session.scalars(select(BootResource))
    assert [f"{one.name} {one.architecture}" for one in left] == [NOBLE]
    check_region()


def test_a_deleted_image_comes_back_while_it_is_selected_without_a_byte(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    retention.delete_resources([resource_id(LOW)], "ann")
    lab.server.reset()
    lab.run()
    assert set(images()) == {NOBLE, LOW}
    assert not lab.fetched()


def test_deleting_what_is_not_there_is_reported_and_changes_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    with pytest.raises(NotFound):
        retention.delete_resources([resource_id(NOBLE), 4711], "ann")
    assert images() == before


@pytest.mark.settings(bin_hours=0)
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


@pytest.mark.both_databases
def test_a_boot_resource_that_never_had_a_set_goes_unless_it_waits_for_one(region: Flask) -> None:
    made = {
        name: factories.saved(
            BootResource(name=name, architecture="amd64/generic", os="custom", release=name,
                         arch="amd64", subarch="generic", rtype="uploaded")
        ).id
        for name in ("forgotten", "awaited", "new")
    }  # fmt: skip
    factories.saved(Upload(token="t" * 64, size=7, resource_id=made["awaited"]))

    def left() -> set[str]:
        return set(db.session.scalars(select(BootResource.name)))

    assert retention.clean_up() == retention.Freed()
    assert left() == set(made)
    past = utcnow() - timedelta(seconds=settings().retire_grace + 60)
    old = BootResource.id.in_((made["forgotten"], made["awaited"]))
    db.session.execute(update(BootResource).where(old).values(updated_at=past))
    db.session.commit()
    assert retention.clean_up() == retention.Freed()
    assert left() == {"awaited", "new"}


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

    assert len(cost(ids)) == len(cost(ids[:1])) == 7


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
@pytest.mark.settings(store="database", keep_versions=1)
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
