# SPDX-License-Identifier: Apache-2.0
"""Versions of images from a boot source: kept, pinned, rolled back, locked, compared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.jobs.conftest import Lab, check_region, failures, files, images
from tests.jobs.retention.later import LOW, NOBLE, later
from tests.mirror.faults import Fault
from tests.support import factories
from webapp.errors import Conflict, NotFound
from webapp.extensions import db, settings, store
from webapp.models import Blob, BootResource, Event, Publication, ResourceFile, ResourceSet, utcnow
from webapp.services.blobs import retention
from webapp.services.images import comparing, expiring, steering, versions
from webapp.services.images.locks import Locked
from webapp.services.imports import preview, transfers
from webapp.services.uploads import removal

OncePlanned = Callable[[Callable[[], object]], None]

pytestmark = pytest.mark.usefixtures("region")


def ids(*names: str) -> list[int]:
    rows = db.session.scalars(select(BootResource).order_by(BootResource.id))
    return [r.id for r in rows if f"{r.name} {r.architecture}" in (names or (NOBLE, LOW))]


def kept(image: str = NOBLE) -> list[str]:
    """The versions that the image can be switched to, the newest first."""
    return [one.version for one in versions.of(ids(image)[0])]


def serial() -> int:
    db.session.rollback()
    return db.session.scalar(select(Publication.serial)) or 0


@pytest.fixture
def once_planned(monkeypatch: pytest.MonkeyPatch) -> OncePlanned:
    """Do something when the next run has its plan and has fetched nothing yet."""

    def hook(action: Callable[[], object]) -> None:
        begin = transfers.begin

        def act_and_begin(*args: Any) -> Any:
            action()
            return begin(*args)

        monkeypatch.setattr(transfers, "begin", act_and_begin)

    return hook


@pytest.fixture
def second(lab: Lab) -> list[str]:
    """Noble in its second version; the versions, the newest first."""
    lab.select("noble")
    lab.run()
    lab.mirror.publish_next()
    lab.run()
    return kept()


@pytest.mark.both_databases
def test_the_version_before_stays_and_older_ones_go(lab: Lab, second: list[str]) -> None:
    assert len(second) == 2
    old = set(files(NOBLE).values())
    lab.mirror.publish_next()
    run = lab.run()
    assert (run.sets_published, run.sets_retired) == (2, 2)
    assert kept()[1:] == second[:1]
    later(settings().retire_grace + 60)
    assert retention.clean_up().sets == 2
    assert len(kept()) == 2
    assert old <= set(db.session.scalars(select(Blob.sha256)))
    check_region()


@pytest.mark.both_databases
def test_a_roll_back_serves_the_old_bytes_at_once_and_no_import_undoes_it(
    lab: Lab, second: list[str]
) -> None:
    new, old = second
    now, before = files(NOBLE), serial()
    lab.server.reset()
    done = steering.roll(ids(), "", "ann")
    assert (done.version, done.is_pinned) == (old, True)
    assert done.before == {"amd64/ga-24.04": new, "amd64/ga-24.04-lowlatency": new}
    assert images() == {NOBLE: old, LOW: old}
    assert files(NOBLE) != now
    assert serial() == before + 1
    lab.mirror.publish_next()
    run = lab.run()
    assert (run.state, run.sets_published) == ("succeeded", 0)
    assert images() == {NOBLE: old, LOW: old}
    assert not lab.fetched()
    done = steering.roll(ids(), new, "ann")
    assert (done.is_pinned, images()[NOBLE]) == (False, new)
    lab.run()
    assert images()[NOBLE] not in second
    by_ann = select(Event.kind).where(Event.actor == "ann", Event.kind.startswith("image."))
    kinds = db.session.scalars(by_ann.order_by(Event.id)).all()
    assert kinds[::2] == ["image.rolled_back"] * 2 + ["image.rolled_forward"] * 2
    assert kinds[1::2] == ["image.pinned"] * 2 + ["image.unpinned"] * 2
    check_region()


def test_a_pin_shows_what_it_keeps_away_and_its_end_lets_it_in(lab: Lab, second: list[str]) -> None:
    steering.pin(ids(), "", "ann")
    lab.mirror.publish_next()
    lab.run()
    assert images()[NOBLE] == second[0]
    waiting = [one for one in preview.next_plan().untouched if one.update]
    assert [" ".join(one.key) for one in waiting] == [NOBLE, LOW]
    assert waiting[0].why == f"pinned to {second[0]}; {waiting[0].update} is available"
    steering.unpin(ids(), "ann")
    lab.run()
    assert images() == dict.fromkeys((NOBLE, LOW), waiting[0].update)


def test_a_pin_set_during_the_import_holds(
    lab: Lab, second: list[str], once_planned: OncePlanned
) -> None:
    lab.mirror.publish_next()
    once_planned(lambda: steering.pin(ids(), "", "ann"))
    run = lab.run()
    assert (run.state, images()[NOBLE]) == ("succeeded", second[0])
    check_region()


def test_a_pinned_image_is_repaired(lab: Lab, second: list[str]) -> None:
    steering.pin(ids(), "", "ann")
    blob = db.session.scalars(select(Blob).where(Blob.sha256 == files(NOBLE)["squashfs"])).one()
    blob.state, blob.fault = "bad", "content"
    db.session.commit()
    lab.run()
    db.session.refresh(blob)
    assert blob.state == "ready"


def test_a_pin_holds_against_a_kernel_that_the_source_drops_not_against_deselecting(
    lab: Lab, second: list[str]
) -> None:
    steering.pin(ids(LOW), "", "ann")

    def drop(documents: dict[str, dict[str, dict[str, object]]]) -> None:
        for document in documents.values():
            for name in [name for name in document["products"] if name.endswith("lowlatency")]:
                del document["products"][name]

    lab.mirror.publish_next(edit=drop)
    lab.run()
    assert images()[LOW] == second[0]
    why = {" ".join(one.key): one.why for one in preview.next_plan().untouched}[LOW]
    assert why.startswith("the source dropped ga-24.04-lowlatency and still offers ubuntu/noble")
    lab.unselect("noble")
    lab.select("jammy")
    lab.run()
    assert not {NOBLE, LOW} & set(images())
    pinned = select(BootResource.pinned_at).where(BootResource.current_set_id.is_not(None))
    assert set(db.session.scalars(pinned)) == {None}


@pytest.mark.both_databases
def test_nothing_removes_what_is_locked(lab: Lab, second: list[str]) -> None:
    steering.lock(ids(NOBLE), "", "ann")
    steering.lock(ids(LOW), second[1], "ann")
    lab.unselect("noble")
    lab.select("jammy")
    lab.run()
    assert {NOBLE, LOW} <= set(images())
    reasons = {" ".join(one.key): one.why for one in preview.next_plan().untouched}
    assert reasons[NOBLE] == "no longer selected; kept: locked"
    assert reasons[LOW] == f"no longer selected; kept: version {second[1]} is locked"
    for remove in (retention.delete_resources, removal.remove):
        with pytest.raises(Locked, match="locked"):
            remove(ids(NOBLE), "eve")
        with pytest.raises(Locked, match=second[1]):
            remove(ids(LOW), "eve")
    for image in (NOBLE, LOW):
        with pytest.raises(Locked):
            versions.delete(ids(image), second[1], "eve")
    assert {NOBLE, LOW} <= set(images())
    steering.unlock(ids(), "", "ann")
    steering.unlock(ids(LOW), second[1], "ann")
    lab.run()
    assert not {NOBLE, LOW} & set(images())


def test_a_lock_set_during_the_import_holds(
    lab: Lab, second: list[str], once_planned: OncePlanned
) -> None:
    lab.unselect("noble")
    lab.select("jammy")
    once_planned(lambda: steering.lock(ids(NOBLE), "", "ann"))
    lab.run()
    assert NOBLE in images()
    assert LOW not in images()


def test_a_locked_version_outlives_newer_ones(lab: Lab, second: list[str]) -> None:
    steering.lock(ids(), second[1], "ann")
    for _ in range(2):
        lab.mirror.publish_next()
        lab.run()
    later(settings().retire_grace + 60)
    retention.clean_up()
    assert len(kept()) == 3
    assert second[1] in kept()
    assert second[0] not in kept()


@pytest.mark.both_databases
def test_a_version_that_a_machine_fetches_is_not_taken_away(lab: Lab, second: list[str]) -> None:
    lab.mirror.publish_next()
    lab.run()
    later(settings().retire_grace + 60)
    old = db.session.scalars(select(ResourceSet).where(ResourceSet.version == second[1])).all()
    assert all(one.retired_at for one in old)
    just_now = utcnow() - timedelta(seconds=settings().retire_grace - 60)
    db.session.execute(
        update(ResourceSet).where(ResourceSet.id == old[0].id).values(fetched_at=just_now)
    )
    db.session.commit()
    keep = old[0].id
    assert retention.clean_up().sets == 1
    left = select(ResourceSet.id).where(ResourceSet.version == second[1])
    assert db.session.scalars(left).all() == [keep]


def test_an_image_has_its_own_numbers(lab: Lab, second: list[str]) -> None:
    steering.keep(ids(NOBLE), 3, None, "ann")
    steering.keep(ids(LOW), 1, 30, "ann")
    lab.mirror.publish_next()
    lab.run()
    assert len(kept(NOBLE)) == len(kept(LOW)) == 3
    db.session.execute(update(ResourceSet).values(completed_at=utcnow() - timedelta(days=40)))
    fetched = update(ResourceSet).where(ResourceSet.version == second[1])
    db.session.execute(fetched.values(fetched_at=utcnow() - timedelta(days=29)))
    db.session.commit()
    retention.clean_up()
    assert len(kept(NOBLE)) == 3
    assert kept(LOW)[1:] == second[1:]


def test_a_version_that_is_not_stored_or_damaged_is_refused(lab: Lab, second: list[str]) -> None:
    with pytest.raises(NotFound) as refused:
        steering.roll(ids(), "20010101", "ann")
    assert refused.value.next_step == f"Choose one of these: {', '.join(second)}."
    with pytest.raises(NotFound):
        steering.pin([*ids(), 4711], "", "ann")
    one = versions.of(ids(NOBLE)[0])[1]
    db.session.execute(
        update(Blob)
        .where(Blob.id.in_(select(ResourceFile.blob_id).where(ResourceFile.set_id == one.id)))
        .values(state="bad")
    )
    db.session.commit()
    with pytest.raises(Conflict, match="damaged"):
        steering.roll(ids(), second[1], "ann")
    db.session.rollback()
    assert images() == {NOBLE: second[0], LOW: second[0]}


def test_without_an_older_version_there_is_no_way_back(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    with pytest.raises(Conflict, match="No older version"):
        steering.roll(ids(), "", "ann")


# -- what a version changes


@pytest.mark.both_databases
def test_two_versions_are_compared_by_packages_kernels_files_and_bytes(
    lab: Lab, second: list[str]
) -> None:
    found = comparing.compare(ids(), "", "")
    assert (found.after, found.before) == tuple(second)
    assert found.packages
    assert {change.kind for change in found.packages} <= {"added", "removed", "changed"}
    assert found.unknown == ()
    assert {change.name for change in found.files} >= {
        "ga-24.04/squashfs",
        "ga-24.04-lowlatency/boot-kernel",
    }
    assert found.new_bytes == found.size_after > 0
    back = comparing.compare(ids(), found.after, found.before)
    assert back.count("added") == found.count("removed")
    with pytest.raises(NotFound):
        comparing.compare(ids(), "", second[1])


def test_a_list_that_cannot_be_had_fails_nothing_and_is_fetched_later(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab()
    lab.server.set_faults([Fault(path="manifest$", status=404)])
    lab.select("noble")
    assert lab.run().state == "succeeded"
    lab.mirror.publish_next()
    lab.server.set_faults([])
    assert lab.run().state == "succeeded"
    found = comparing.compare(ids(), "", "")
    assert found.packages is None
    assert found.unknown == (found.before,)
    lab.mirror.publish_next()
    lab.run()
    assert comparing.compare(ids(), "", "").packages is not None


# -- around them


def test_a_full_store_names_the_older_versions_among_what_can_go(
    lab: Lab, second: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steering.lock(ids(LOW), second[1], "ann")
    lab.mirror.publish_next()
    monkeypatch.setattr(type(store()), "free_bytes", lambda self: 1)
    (failure,) = failures(lab.run())
    assert failure.code == "store-full"
    assert failure.next_step.endswith(" 1 older version can be deleted.")


@pytest.mark.both_databases
def test_a_locked_version_of_an_uploaded_image_outlives_newer_uploads(region: Flask) -> None:
    made = factories.boot_resource({"root-tgz": b"1"}, os="custom", release="web", rtype="uploaded")
    steering.lock([made.id], "20260105", "ann")
    for day in (6, 7, 8, 9):
        newer = factories.resource_set(made, {"root-tgz": b"%d" % day}, version=f"2026010{day}")
        made.current_set_id = newer.id
        db.session.commit()
        expiring.retire_surplus([made.id])
    found = [one.version for one in versions.of(made.id)]
    assert found == ["20260109", "20260108", "20260107", "20260105"]
    with pytest.raises(Locked):
        versions.delete([made.id], "20260105", "eve")
    with pytest.raises(Conflict, match="can't be pinned"):
        steering.pin([made.id], "", "ann")
    db.session.rollback()
    assert not steering.roll([made.id], "20260105", "ann").is_pinned
