# SPDX-License-Identifier: Apache-2.0
"""The bin: what is removed can be restored for a while, without a download."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from tests.jobs.conftest import Lab, check_region, files, images
from tests.jobs.retention.later import LOW, NOBLE, digests, later
from webapp.errors import NotFound, Problem
from webapp.extensions import db, settings
from webapp.models import Blob, BootResource, Event, utcnow
from webapp.services.blobs import retention
from webapp.services.images import binning, steering, versions
from webapp.services.imports import restoring

pytestmark = pytest.mark.usefixtures("region")
JAMMY = "ubuntu/jammy amd64/ga-22.04"


def ids(*names: str) -> list[int]:
    rows = db.session.scalars(select(BootResource).order_by(BootResource.id))
    return [row.id for row in rows if f"{row.name} {row.architecture}" in names]


def hours_pass(hours: float) -> None:
    """Let time pass for the bin as well."""
    past = utcnow() - timedelta(hours=hours)
    db.session.execute(
        update(BootResource).where(BootResource.binned_at.is_not(None)).values(binned_at=past)
    )
    later(hours * 3600)


@pytest.fixture
def unselected(lab: Lab) -> Lab:
    """Noble and jammy were imported, and noble was deselected and so removed."""
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    lab.unselect("noble")
    lab.run()
    assert NOBLE not in images()
    lab.server.reset()
    return lab


@pytest.mark.both_databases
def test_a_deselected_image_is_in_the_bin_and_comes_back_selected_without_a_byte(
    unselected: Lab,
) -> None:
    before = digests()
    later(settings().retire_grace + 60)
    assert retention.clean_up() == retention.Freed()
    assert digests() == before
    [one] = binning.read().images
    assert (one.name, one.arch, one.why) == ("ubuntu/noble", "amd64", "no longer selected")
    assert one.kernels == ("ga-24.04", "ga-24.04-lowlatency")
    assert one.bytes == binning.read().bytes > 0
    assert 23 * 3600 < one.left_s <= 24 * 3600
    done = restoring.restore(one.resource_ids, "ann")
    assert (done.is_selected, done.warning) == (True, "")
    assert {NOBLE, LOW} < set(images())
    assert binning.read() == binning.Bin((), 0)
    run = unselected.run()
    assert (run.state, run.sets_published, run.sets_retired) == ("succeeded", 0, 0)
    assert not unselected.fetched()
    event = db.session.scalar(select(Event).where(Event.kind == "image.restored"))
    assert event is not None
    assert event.actor == "ann"
    check_region()


def test_what_is_in_the_bin_goes_when_its_time_is_over(unselected: Lab) -> None:
    own = set(digests())
    [one] = binning.read().images
    hours_pass(25)
    freed = retention.clean_up()
    assert freed.bytes == one.bytes
    assert digests() < own
    assert binning.read().images == ()
    with pytest.raises(NotFound):
        restoring.restore(one.resource_ids, "ann")
    assert not ids(NOBLE)
    check_region()


def test_emptying_frees_after_the_grace_and_shared_bytes_stay(unselected: Lab) -> None:
    [one] = binning.read().images
    assert binning.empty(None, "ann") == binning.Emptied(1, one.bytes)
    assert binning.read().images == ()
    assert retention.clean_up() == retention.Freed()
    later(settings().retire_grace + 60)
    assert retention.clean_up().bytes == one.bytes
    with pytest.raises(NotFound):
        binning.empty(one.resource_ids, "ann")
    check_region()


@pytest.mark.both_databases
def test_a_deleted_image_is_restored_as_it_was_with_its_pin_and_versions(lab: Lab) -> None:
    lab.select("noble")
    lab.run()
    lab.mirror.publish_next()
    lab.run()
    steering.roll(ids(NOBLE, LOW), "", "ann")
    before, kept = images(), [one.version for one in versions.of(ids(NOBLE)[0])]
    assert len(kept) == 2
    retention.delete_resources(ids(NOBLE, LOW), "ann")
    assert images() == {}
    restored = restoring.restore(binning.find("ubuntu", "noble", "amd64"), "ann")
    assert (restored.is_selected, restored.warning) == (False, "")
    assert images() == before
    assert [one.version for one in versions.of(ids(NOBLE)[0])] == kept
    lab.run()
    assert images() == before
    check_region()


def test_an_import_takes_back_what_is_selected_again(unselected: Lab) -> None:
    unselected.select("noble")
    unselected.run()
    assert {NOBLE, LOW} < set(images())
    assert binning.read().images == ()
    assert not unselected.fetched()
    hours_pass(30)
    assert retention.clean_up() == retention.Freed()
    check_region()


def test_what_no_source_offers_is_restored_with_a_warning(unselected: Lab) -> None:
    def drop(documents: dict[str, dict[str, dict[str, object]]]) -> None:
        for document in documents.values():
            for name in [name for name in document["products"] if ":24.04:" in name]:
                del document["products"][name]

    unselected.mirror.publish_next(edit=drop)
    unselected.run()
    done = restoring.restore(binning.find("ubuntu", "noble", "amd64"), "ann")
    assert not done.is_selected
    assert "no longer selected" in done.warning
    assert "lock" in done.warning


def test_damaged_bytes_are_not_restored(unselected: Lab) -> None:
    found = binning.find("ubuntu", "noble", "amd64")
    db.session.execute(update(Blob).values(state="bad"))
    db.session.commit()
    with pytest.raises(Problem) as caught:
        restoring.restore(found, "ann")
    assert caught.value.code == "blob-damaged"
    assert NOBLE not in images()
    assert len(binning.read().images) == 1


@pytest.mark.settings(bin_hours=0)
def test_without_a_bin_bytes_go_after_the_grace(unselected: Lab) -> None:
    assert binning.read().images == ()
    later(settings().retire_grace + 60)
    assert retention.clean_up().sets == 2
    assert files(JAMMY)
