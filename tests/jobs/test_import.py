# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.jobs.conftest import (
    Lab,
    check_region,
    failures,
    files,
    images,
    only,
    transfers,
)
from tests.mirror.faults import Fault
from tests.mirror.maker import Documents
from tests.support import factories
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    BootSource,
    BootSourceSelection,
    Event,
    Publication,
    ResourceFile,
    ResourceSet,
)
from webapp.services.blobs import checking, retention
from webapp.services.imports import runs

pytestmark = pytest.mark.usefixtures("region")

NOBLE, JAMMY = "ubuntu/noble amd64/ga-24.04", "ubuntu/jammy amd64/ga-22.04"
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


def drop(*endings: str) -> Callable[[Documents], None]:
    """An edit that takes the products out of the stream whose names end so."""

    def edit(documents: Documents) -> None:
        for document in documents.values():
            for name in [n for n in document["products"] if n.endswith(endings)]:
                del document["products"][name]

    return edit


# -- what is stored


@pytest.mark.both_databases
def test_what_is_selected_is_stored_whole_and_nothing_else(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(loaders=True, centos=True, notification=True, arches=("amd64", "arm64"))
    lab.select("noble")
    lab.select("centos70", os="centos")
    run = lab.run()
    assert (run.state, failures(run), run.sets_published) == ("succeeded", [], 7)
    assert run.summary == "7 images published."
    assert set(images()) == {
        NOBLE,
        LOW,
        "centos/centos70 amd64/generic",
        "grub-efi-signed/uefi amd64/generic",
        "grub-efi/uefi arm64/generic",
        "grub-ieee1275/open-firmware ppc64el/generic",
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
    assert (run.state, run.summary) == ("succeeded", "Nothing new.")
    assert [(r.path, r.status) for r in lab.server.log] == [
        (f"/{lab.mirror.path}streams/v1/index.sjson", 304)
    ]
    assert (images(), serial()) == (before, number)
    assert transfers(run) == []


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


# -- what goes


def test_an_unticked_image_goes_after_the_new_ones_came_and_its_bytes_after_the_grace(
    lab: Lab,
) -> None:
    lab.select("noble")
    lab.run()
    old = set(files(NOBLE).values())
    lab.unselect("noble")
    lab.select("jammy")
    run = lab.run()
    assert (run.state, run.summary) == ("succeeded", "2 images published and 2 images removed.")
    assert {image.split(" ")[0] for image in images()} == {"ubuntu/jammy"}
    assert all(store().stat(digest) for digest in old)
    order = db.session.scalars(
        select(Event.kind).where(Event.kind.in_(("image.published", "image.removed")))
    ).all()
    assert order[-2:] == ["image.removed", "image.removed"]
    assert retention.clean_up().blobs == 0


def test_selecting_again_within_the_grace_fetches_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    before = files(NOBLE)
    lab.unselect("noble")
    lab.run()
    assert NOBLE not in images()
    lab.select("noble")
    lab.server.reset()
    run = lab.run()
    assert (run.state, run.sets_published) == ("succeeded", 2)
    assert files(NOBLE) == before
    assert lab.fetched() == Counter()
    assert {t.state for t in transfers(run)} == {"done"}
    check_region()


def test_what_vanished_upstream_stays_while_it_is_selected(lab: Lab) -> None:
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    before = files(NOBLE)
    lab.mirror.publish_next(edit=drop("24.04", "24.04-lowlatency"))
    run = lab.run()
    assert run.state == "succeeded"
    assert files(NOBLE) == before
    gone = db.session.scalars(select(BootResource.name).where(BootResource.gone_since.is_not(None)))
    assert set(gone) == {"ubuntu/noble"}
    assert db.session.scalar(select(func.count()).where(Event.kind == "image.gone")) == 2
    lab.mirror.publish_next()
    lab.run()
    assert (
        db.session.scalar(select(BootResource.id).where(BootResource.gone_since.is_not(None)))
        is None
    )


def test_an_extra_kernel_that_upstream_dropped_goes(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    lab.mirror.publish_next(edit=drop("ga-24.04-lowlatency"))
    run = lab.run()
    assert run.summary == "1 image published and 1 image removed."
    assert set(images()) == {NOBLE}


def test_a_dropped_kernel_stays_until_the_others_of_its_release_are_there(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.mirror.publish_next(edit=drop("ga-24.04-lowlatency"))
    lab.server.set_faults([Fault(path="squashfs$", status=404)])
    run = lab.run()
    assert run.state == "partial"
    assert images() == before


@pytest.mark.parametrize("is_selected", [True, False])
def test_a_stream_that_turned_empty_removes_nothing(lab: Lab, is_selected: bool) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    if not is_selected:
        lab.unselect("noble")
    lab.mirror.publish_next(edit=drop(""))
    run = lab.run()
    assert (run.state, [f.code for f in failures(run)]) == ("failed", ["stream-empty"])
    assert images() == before
    check_region()


def test_a_stream_whose_products_all_fail_the_gate_removes_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()

    def edit(documents: Documents) -> None:
        for document in documents.values():
            products = document["products"]
            for name in list(products):
                products[name.replace(":v3:", ":v9:")] = products.pop(name)

    lab.mirror.publish_next(edit=edit)
    run = lab.run()
    assert [f.code for f in failures(run)] == ["stream-empty"]
    assert images() == before


def test_unticking_everything_removes_nothing_and_says_so(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.unselect("noble")
    run = lab.run()
    (failure,) = failures(run)
    assert failure.code == "import-guard"
    assert "delete" in failure.next_step
    assert images() == before


def test_when_all_that_was_to_come_fails_the_unticked_images_stay(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.unselect("noble")
    lab.select("jammy")
    lab.server.set_faults([Fault(path="jammy/.*squashfs$", status=404)])
    run = lab.run()
    assert [f.code for f in failures(run)] == ["http-status", "import-guard"]
    assert images() == before


def test_uploaded_images_survive_every_import(lab: Lab) -> None:
    mine = factories.boot_resource(os="custom", release="mine", rtype="uploaded", source_id=None)
    lab.select("noble")
    lab.run()
    lab.unselect("noble")
    lab.select("jammy")
    lab.run()
    db.session.expire_all()
    assert mine.current_set_id is not None


def test_a_removed_source_takes_its_images_with_the_next_import(
    make_lab: Callable[..., Lab],
) -> None:
    lab, other = make_lab(), make_lab("other", releases=("jammy",))
    lab.select("noble")
    other.select("jammy")
    lab.run()
    db.session.delete(db.session.get_one(BootSource, lab.source_id))
    db.session.commit()
    other.run()
    assert {image.split(" ")[0] for image in images()} == {"ubuntu/jammy"}


# -- more than one source


def test_the_source_with_the_higher_priority_provides_an_image(
    make_lab: Callable[..., Lab],
) -> None:
    low, high = make_lab("low"), make_lab("high", seed="other bytes", generation=3)
    high.source.priority = 5
    db.session.commit()
    low.select("noble")
    high.select("noble")
    low.run()
    assert set(db.session.scalars(select(BootResource.source_id))) == {high.source_id}
    assert not low.fetched()


def test_bytes_that_one_source_lacks_come_from_another(make_lab: Callable[..., Lab]) -> None:
    broken, whole = make_lab("broken"), make_lab("whole")
    broken.select("noble")
    broken.server.set_faults([Fault(path="boot-initrd$", status=404)])
    run = broken.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    assert {path.rpartition("/")[2] for path in whole.fetched()} == {"boot-initrd"}
    check_region()


def test_a_source_that_fails_stops_no_other(make_lab: Callable[..., Lab]) -> None:
    broken, good = make_lab("broken"), make_lab("good")
    broken.select("noble")
    good.select("jammy")
    broken.server.set_faults([Fault(path="index", status=404)])
    run = good.run()
    (failure,) = failures(run)
    assert (failure.source_id, failure.source_url) == (broken.source_id, broken.server.source_url)
    assert (failure.code, failure.image, failure.filename) == ("http-status", "", "")
    assert failure.next_step
    assert run.state == "partial"
    assert {image.split(" ")[0] for image in images()} == {"ubuntu/jammy"}


def test_an_image_of_a_failing_source_is_left_alone(make_lab: Callable[..., Lab]) -> None:
    lab, other = make_lab("lab"), make_lab("other", generation=1)
    lab.source.priority = 5
    db.session.commit()
    lab.select("noble")
    other.select("noble")
    lab.run()
    before = images()
    lab.server.set_faults([Fault(path="index", status=404)])
    lab.unselect("jammy")
    lab.run()
    assert images() == before


def test_an_import_without_any_enabled_source_does_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    before = images()
    lab.source.is_enabled = False
    db.session.commit()
    run = lab.run()
    assert (run.state, run.summary) == ("succeeded", "There is no enabled boot source.")
    assert images() == before


# -- changes during a run


SLOW = [Fault(path="squashfs$", rate=50_000)]


def test_a_selection_made_during_a_run_is_imported_without_another_click(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults(SLOW)
    with lab.during_download(lambda: lab.select("jammy")):
        run = lab.run()
    assert run.state == "succeeded"
    assert JAMMY not in images()
    follower = runs.current()
    assert follower is not None
    assert (follower.state, follower.trigger) == ("queued", "change")
    lab.run()
    assert JAMMY in images()
    assert runs.current() is None


def test_nothing_is_removed_that_was_selected_again_during_the_run(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    lab.unselect("noble")
    lab.select("jammy")
    lab.server.reset()
    lab.server.set_faults(SLOW)
    with lab.during_download(lambda: lab.select("noble")):
        run = lab.run()
    assert run.summary == "2 images published."
    assert {NOBLE, JAMMY} < set(images())


def test_nothing_of_a_source_is_published_that_was_changed_during_the_run(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults(SLOW)

    def change() -> None:
        db.session.get_one(BootSource, lab.source_id).name = "another"
        db.session.commit()

    with lab.during_download(change):
        run = lab.run()
    assert "another run follows" in run.summary
    assert images() == {}
    lab.run()
    assert NOBLE in images()


def test_a_source_that_is_removed_during_the_run_gives_nothing(lab: Lab) -> None:
    lab.select("noble")
    lab.server.set_faults(SLOW)

    def remove() -> None:
        db.session.delete(db.session.get_one(BootSource, lab.source_id))
        db.session.commit()

    with lab.during_download(remove):
        run = lab.run()
    assert run.state == "succeeded"
    assert images() == {}
    check_region()


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


def test_damaged_bytes_whose_rows_were_lost_are_fetched_anew(lab: Lab) -> None:
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
    assert (run.state, run.summary) == ("succeeded", "Nothing new.")
    assert images() == {}
