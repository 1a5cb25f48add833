# SPDX-License-Identifier: Apache-2.0
"""An import stores whole images, and the next one fetches only what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.jobs.conftest import (
    Lab,
    carry_out,
    check_region,
    failures,
    files,
    images,
    only,
    transfers,
)
from tests.jobs.imports.streams import NOBLE
from tests.mirror.maker import Documents
from tests.support import factories
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    BootSourceSelection,
    Publication,
    ResourceFile,
    ResourceSet,
)
from webapp.services.blobs import checking
from webapp.services.imports import runs

pytestmark = pytest.mark.usefixtures("region")
LOW = "ubuntu/noble amd64/ga-24.04-lowlatency"


def serial() -> int:
    db.session.expire_all()
    return db.session.scalar(select(Publication.serial)) or 0


def product(documents: Documents, ending: str) -> dict[str, Any]:
    """The product of all documents whose name ends like this."""
    (found,) = [
        value
        for document in documents.values()
        for name, value in document["products"].items()
        if name.endswith(ending)
    ]
    return found


def newest_items(documents: Documents, ending: str) -> dict[str, Any]:
    versions = product(documents, ending)["versions"]
    items: dict[str, Any] = versions[max(versions)]["items"]
    return items


# -- what is stored


@pytest.mark.both_databases
def test_what_is_selected_is_stored_whole_and_nothing_else(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(loaders=True, centos=True, notification=True, arches=("amd64", "arm64"))
    lab.select("noble")
    lab.select("centos70", os="centos")
    run = lab.run()
    assert (run.state, failures(run), run.sets_published) == ("succeeded", [], 8)
    assert run.summary == "2 images and 5 boot loaders published."
    assert set(images()) == {
        NOBLE,
        LOW,
        "centos/centos70 amd64/generic",
        "grub-efi-signed/uefi amd64/generic",
        "grub-efi/uefi arm64/generic",
        "grub-ieee1275/open-firmware ppc64el/generic",
        "pxelinux/pxe amd64/generic",
        "pxelinux/pxe i386/generic",
    }
    assert files(NOBLE) == {
        item.ftype: item.sha256
        for item in lab.mirror.newest(release="noble", arch="amd64", kflavor="generic")
        if item.ftype != "manifest"
    }
    assert set(files("centos/centos70 amd64/generic")) == {"root-tgz"}
    assert set(files("grub-efi-signed/uefi amd64/generic")) == {
        "grub2-signed.tar.xz",
        "shim-signed.tar.xz",
    }
    assert all(count == 1 for count in lab.fetched().values())
    check_region()


def test_a_set_tells_where_it_came_from(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    row = db.session.scalars(select(ResourceSet)).first()
    assert row is not None
    assert row.label == "stable"
    assert row.signer_fingerprint == lab.mirror.key.fingerprint
    assert not row.is_unsigned
    resource = row.resource
    assert (resource.rtype, resource.source_id, resource.title) == (
        "synced",
        lab.source_id,
        resource.title,
    )
    assert resource.answers_to
    kernel = db.session.scalars(
        select(ResourceFile).where(ResourceFile.ftype == "boot-kernel")
    ).first()
    assert kernel is not None
    assert kernel.extra["kpackage"].startswith("linux-")


def test_of_squashfs_and_root_image_only_squashfs_is_stored(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(releases=("trusty",), kernels=1)
    lab.select("trusty")
    lab.run()
    assert set(files(only(images()))) == {"boot-kernel", "boot-initrd", "squashfs"}
    lab.mirror.publish_next(edit=lambda docs: newest_items(docs, "hwe-t").pop("squashfs"))
    lab.run()
    assert set(files(only(images()))) == {"boot-kernel", "boot-initrd", "root-image.gz"}


def test_shared_bytes_are_fetched_and_stored_once(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    assert files(NOBLE)["squashfs"] == files(LOW)["squashfs"]
    squashfs = [path for path in lab.fetched() if path.endswith("/squashfs")]
    assert len(squashfs) == 1
    assert lab.fetched()[squashfs[0]] == 1
    assert len(list(store().digests())) == 5


# -- the next run


@pytest.mark.both_databases
def test_an_unchanged_source_costs_one_request_and_changes_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before, number = images(), serial()
    lab.server.reset()
    run = lab.run()
    assert (run.state, run.summary) == ("succeeded", "No changes.")
    assert [(r.path, r.status) for r in lab.server.log] == [
        (f"/{lab.mirror.path}streams/v1/index.sjson", 304)
    ]
    assert (images(), serial()) == (before, number)
    assert transfers(run) == []


@pytest.mark.settings(keep_versions=1)
def test_a_new_version_takes_over_whole_and_the_old_one_is_kept_for_the_grace(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before, old = images(), files(NOBLE)
    lab.mirror.publish_next()
    run = lab.run()
    assert (run.state, run.sets_published, run.sets_retired) == ("succeeded", 2, 2)
    assert images() != before
    assert files(NOBLE) != old
    rows = db.session.scalars(select(ResourceSet).order_by(ResourceSet.id)).all()
    assert [row.retired_at is None for row in rows] == [False, False, True, True]
    assert all(store().stat(digest) is not None for digest in old.values())
    check_region()


def test_other_bytes_under_the_same_version_replace_it_and_shared_ones_survive(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = files(NOBLE)
    version = images()[NOBLE]

    def edit(documents: Documents) -> None:
        item = newest_items(documents, "ga-24.04")["boot-kernel"]
        item.update(lab.mirror.files.given(item["path"] + ".mended", b"another kernel"))
        item["path"] += ".mended"

    lab.mirror.publish(after=timedelta(hours=1), edit=edit)
    run = lab.run()
    assert (run.state, run.sets_published) == ("succeeded", 1)
    assert images()[NOBLE] == version
    after = files(NOBLE)
    assert after["boot-kernel"] != before["boot-kernel"]
    assert after["squashfs"] == before["squashfs"] == files(LOW)["squashfs"]
    check_region()


def test_a_run_takes_only_what_changed(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    lab.select("jammy")
    lab.server.reset()
    run = lab.run()
    assert run.sets_published == 2
    assert all(path.startswith("jammy/") for path in lab.fetched())
    assert run.bytes_total == run.bytes_done == sum(lab.wanted(release="jammy").values())


# -- tables and store


def test_bytes_that_were_lost_are_fetched_again(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    digest = files(NOBLE)["squashfs"]
    store().delete(digest)
    checking.check_store()
    assert db.session.scalar(select(Blob.state).where(Blob.sha256 == digest)) == BlobState.BAD
    lab.server.reset()
    run = lab.run()
    assert (run.state, run.sets_published) == ("succeeded", 0)
    assert sum(lab.fetched().values()) == 1
    check_region()


def test_bytes_whose_rows_were_lost_are_verified_and_not_fetched(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    for model in (BootResource, Blob):
        for row in db.session.scalars(select(model)):
            db.session.delete(row)
            db.session.commit()
    lab.server.reset()
    run = lab.run()
    assert (run.state, run.sets_published) == ("succeeded", 2)
    assert lab.fetched() == Counter()
    assert run.bytes_done == run.bytes_total
    check_region()


def test_damaged_bytes_whose_rows_were_lost_are_fetched_again(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    digest = files(NOBLE)["boot-kernel"]
    path = store().relative_path(digest)
    assert path is not None
    from webapp.extensions import settings

    target = settings().store_dir / path
    target.chmod(0o640)
    target.write_bytes(b"x" * target.stat().st_size)
    db.session.execute(Blob.__table__.update().where(Blob.sha256 == digest).values(state="bad"))
    db.session.commit()
    run = lab.run()
    assert run.state == "succeeded"
    check_region()


def test_selections_that_match_nothing_import_nothing(lab: Lab) -> None:
    db.session.add(
        BootSourceSelection(source_id=lab.source_id, os="ubuntu", release="noble", arches=[])
    )
    db.session.commit()
    run = lab.run()
    assert (run.state, run.summary) == ("succeeded", "No changes.")
    assert images() == {}


def test_what_a_killed_worker_had_published_is_done_and_not_stopped(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    run = runs.queue("manual", "ann")
    digest = files(NOBLE)["squashfs"]
    blob = db.session.scalars(select(Blob).where(Blob.sha256 == digest)).one()
    # The worker that was killed had published it and didn't come to say so.
    state = {"state": "downloading", "bytes_done": 0}
    factories.file_transfer(run, sha256=digest, size=blob.size, blob_id=blob.id, **state)
    run = carry_out(run)
    assert run.state == "succeeded"
    assert [(row.sha256, row.state) for row in transfers(run)] == [(digest, "done")]
