# SPDX-License-Identifier: Apache-2.0
"""One image is imported alone, and those with a higher priority come first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.jobs.conftest import Lab, carry_out, check_region, images, transfers
from tests.jobs.imports.streams import NOBLE, drop
from tests.mirror.faults import Fault
from tests.support import factories
from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import BootResource, BootSourceCache, ImportRun, Priority
from webapp.services.blobs import retention
from webapp.services.images import history, priorities, steering, versions
from webapp.services.images.keys import Image
from webapp.services.imports import (
    approving,
    inventory,
    pausing,
    preview,
    retrying,
    runs,
    scheduling,
    single,
)
from webapp.services.imports.scope import Scope
from webapp.services.imports.single import Outcome
from webapp.services.overview import upkeep
from webapp.services.sources import refreshing
from webapp.storage.leases import new_owner
from webapp.streams.offers import Offer

pytestmark = pytest.mark.usefixtures("region")
ONE, OTHER = Image("ubuntu/noble", "amd64"), Image("ubuntu/jammy", "amd64")


@pytest.fixture
def both(lab: Lab) -> Lab:
    """Noble and jammy are stored, and new versions of both are offered."""
    lab.select("noble")
    lab.select("jammy")
    lab.run()
    lab.mirror.publish_next()
    lab.server.reset()
    return lab


@pytest.mark.both_databases
def test_one_image_is_imported_alone_and_others_stay_as_they_are(
    both: Lab, make_lab: Callable[..., Lab]
) -> None:
    other = make_lab("other", releases=("focal",))
    before = images()
    done = single.start(ONE, "ann")
    assert done.outcome == Outcome.STARTED
    assert done.message == f"Import {done.run.id} of ubuntu/noble amd64 has started."
    both.unselect("jammy")  # no longer wanted, which is none of this import's business
    run = carry_out(done.run)
    assert (run.state, run.only_images) == ("succeeded", [ONE._asdict()])
    assert run.plan is not None
    assert {one["name"] for one in run.plan["actions"]} == {"ubuntu/noble"}
    assert (run.plan["retire"], run.plan["keep"]) == ([], [])
    assert {transfer.image for transfer in transfers(run)} == {"ubuntu/noble"}
    assert not any("jammy" in path for path in both.fetched())
    assert other.server.log == []
    retention.clean_up()
    now = images()
    assert set(now) == set(before)
    assert {name for name in now if now[name] != before[name]} == {
        name for name in now if "noble" in name
    }
    assert runs.current() is None
    check_region()


def test_an_extra_kernel_that_is_no_longer_offered_is_left_to_the_next_full_import(
    both: Lab,
) -> None:
    both.mirror.publish_next(edit=drop("ga-24.04-lowlatency"))
    carry_out(single.start(ONE, "ann").run)
    assert f"{NOBLE}-lowlatency" in images()
    both.run()
    assert f"{NOBLE}-lowlatency" not in images()


def test_a_run_that_has_the_image_is_joined_and_else_it_comes_next(both: Lab) -> None:
    full = runs.queue("manual", "bob").id
    asked = single.start(ONE, "ann")
    assert (asked.run.id, asked.outcome) == (full, Outcome.JOINED)
    assert asked.message == f"Import {full} includes ubuntu/noble amd64 already."
    both.server.set_faults([Fault(path="squashfs$", rate=50_000)])
    found: list[tuple[int, str]] = []

    def ask() -> None:
        done = single.start(ONE, "ann")
        found.append((done.run.id, done.outcome))

    with both.during_download(ask):
        both.run()
    assert found == [(full, Outcome.JOINED)]
    assert runs.current() is None


@pytest.mark.both_databases
def test_images_that_a_run_lacks_share_the_next_one(both: Lab) -> None:
    first = single.start(ONE, "ann")
    assert single.start(ONE, "bob").outcome == Outcome.JOINED
    owner = new_owner()
    assert runs.claim(owner) is not None
    second = single.start(OTHER, "ann")
    assert (second.outcome, second.run.state) == (Outcome.QUEUED, "queued")
    assert second.message == (
        f"Import {second.run.id} of ubuntu/jammy amd64 starts when import {first.run.id} ends."
    )
    db.session.get_one(ImportRun, first.run.id).plan = {"actions": []}
    db.session.commit()
    third = single.start(ONE, "ann")  # the one at work found nothing to do for it
    assert (third.run.id, third.outcome) == (second.run.id, Outcome.QUEUED)
    assert third.run.only_images == [OTHER._asdict(), ONE._asdict()]
    everything = runs.queue("manual", "ann")
    assert (everything.id, everything.only_images) == (second.run.id, None)


def test_a_queued_run_of_some_sources_takes_the_image_on(both: Lab) -> None:
    some = runs.queue("source", "schedule", [both.source_id])
    done = single.start(ONE, "ann")
    assert (done.run.id, done.outcome) == (some.id, Outcome.JOINED)
    assert (done.run.source_ids, done.run.only_images) == (None, None)


def test_a_source_that_is_asked_for_beside_one_image_is_read_as_well(both: Lab) -> None:
    some = single.start(ONE, "ann").run
    loaded = runs.queue("manual", "ann", [both.source_id])
    assert (loaded.id, loaded.source_ids, loaded.only_images) == (some.id, None, None)
    carry_out(some)
    both.mirror.publish_next()
    alone = single.start(ONE, "ann").run
    runs.claim(new_owner())
    behind = runs.queue("manual", "ann", [both.source_id])  # what's at work keeps to its image
    assert (behind.id != alone.id, behind.state, behind.only_images) == (True, "queued", None)


def test_trying_again_while_one_image_is_imported_starts_nothing_else(both: Lab) -> None:
    run = single.start(ONE, "ann").run
    runs.claim(new_owner())
    assert retrying.try_again("ann").id == run.id
    again = db.session.scalars(select(ImportRun).where(ImportRun.state == "queued")).all()
    assert (list(again), run.retry_asked_at is not None) == ([], True)


def test_a_paused_run_that_has_the_image_stays_paused_and_says_so(both: Lab) -> None:
    run = runs.queue("schedule", "schedule")
    pausing.pause("ann")
    words = single.start(ONE, "ann").message
    assert words.endswith("It's paused. Resume it to continue.")
    db.session.get_one(ImportRun, run.id).hold = "window"
    db.session.commit()
    words = single.start(ONE, "ann").message
    assert words.endswith("It waits for a window. Resume it to download now.")
    assert db.session.get_one(ImportRun, run.id).hold == "window"


def test_an_approved_plan_without_the_image_is_not_changed(both: Lab) -> None:
    carry_out(single.start(ONE, "ann").run)
    run = approving.start(preview.next_report().digest, "ann")
    with pytest.raises(Problem, match="doesn't include this image"):
        single.start(ONE, "ann")
    assert single.start(OTHER, "ann").run.id == run.id


def test_asking_for_one_image_reads_its_own_part_of_the_catalogue(
    both: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[tuple[str, str]] = set()
    real = inventory.offer_of

    def noted(row: BootSourceCache) -> Offer:
        read.add((f"{row.os}/{row.release}", row.arch))
        return real(row)

    monkeypatch.setattr(inventory, "offer_of", noted)
    run = single.start(ONE, "ann").run
    assert Scope.of(run).sources() == {both.source_id}
    assert read == {tuple(ONE)}


def test_an_image_alone_does_not_put_off_the_regular_import(both: Lab) -> None:
    before = scheduling.due(runs.now()).first
    carry_out(single.start(ONE, "ann").run)
    assert scheduling.due(runs.now()).first == before
    single.start(ONE, "ann")
    assert upkeep.queue_if_due() is None


def test_what_no_import_would_bring_is_refused_with_the_reason(both: Lab) -> None:
    both.unselect("jammy")
    with pytest.raises(Problem, match="isn't selected") as refusal:
        single.start(OTHER, "ann")
    assert refusal.value.next_step.startswith("Select it")
    with pytest.raises(Problem, match="No boot source offers"):
        single.start(Image("ubuntu/nope", "amd64"), "ann")
    uploaded = factories.boot_resource(rtype="uploaded", name="web", os="", release="web")
    with pytest.raises(Problem, match="uploaded image"):
        single.start(Image("custom/web", uploaded.arch), "ann")
    assert runs.current() is None


@pytest.mark.settings(downloads=1)
def test_images_come_in_the_order_of_their_priorities(both: Lab) -> None:
    priorities.change(ONE, Priority.HIGH, "ann")
    priorities.change(OTHER, Priority.LOW, "ann")
    refreshing.refresh(both.source)
    order = list(dict.fromkeys(one.name for one in preview.next_report().actions))
    assert order == ["ubuntu/noble", "ubuntu/jammy"]
    run = both.run()
    assert list(dict.fromkeys(one.image for one in transfers(run))) == order
    paths = [path for path in both.fetched() if path.endswith("squashfs")]
    assert [("noble" in path, "jammy" in path) for path in paths] == [(True, False), (False, True)]
    priorities.change(ONE, Priority.NORMAL, "ann")
    assert priorities.read() == {OTHER: Priority.LOW}
    with pytest.raises(Problem, match="No boot source offers this image"):
        priorities.change(Image("ubuntu/nope", "amd64"), Priority.HIGH, "ann")


# -- pins to versions that are still to come


@pytest.mark.both_databases
def test_a_pin_to_an_offered_version_is_fetched_by_the_next_import_and_holds(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(versions=4)
    lab.select("noble")
    lab.run()
    lab.mirror.publish_next()
    ids = versions.ids_of("ubuntu", "noble", "amd64")
    before = images()
    oldest, *_, newest = sorted({item.serial for item in lab.mirror.items(release="noble")})
    with pytest.raises(Problem, match="isn't stored"):
        steering.pin(ids, newest, "ann")  # the source wasn't read since it was published
    refreshing.refresh(lab.source)
    assert history.of(ids).offered[0] == newest
    assert history.of(ids).offered[-1] == oldest
    for version in (newest, oldest):
        done = steering.pin(ids, version, "ann")
        assert (done.is_pinned, len(done.coming)) == (True, 2)
        assert images()[NOBLE] != version
        if version == newest:
            assert images() == before
        lab.run()
        assert images()[NOBLE] == version
        row = db.session.get_one(BootResource, ids[0])
        assert (row.pinned_at is not None, row.pinned_version) == (True, "")
        lab.run()
        assert images()[NOBLE] == version
    check_region()


def test_one_image_comes_in_its_pinned_version_from_where_it_isnt_selected(
    both: Lab, make_lab: Callable[..., Lab]
) -> None:
    other = make_lab("other", releases=("noble",))
    for _ in range(2):
        other.mirror.publish_next()
    newest = max(item.serial for item in other.mirror.items(release="noble"))
    refreshing.refresh(other.source)
    steering.pin(versions.ids_of("ubuntu", "noble", "amd64"), newest, "ann")
    assert carry_out(single.start(ONE, "ann").run).state == "succeeded"
    assert images()[NOBLE] == newest


def test_a_pin_to_a_version_that_is_gone_by_then_leaves_the_image_as_it_is(both: Lab) -> None:
    ids = versions.ids_of("ubuntu", "noble", "amd64")
    before = images()[NOBLE]
    refreshing.refresh(both.source)
    steering.pin(ids, history.of(ids).offered[0], "ann")
    for _ in range(3):
        both.mirror.publish_next()
    both.run()
    assert images()[NOBLE] == before
    words = {one.why for one in preview.next_report().keep if one.name == ONE.name}
    assert len(words) == 1
    assert "which no source offers now" in words.pop()
    steering.pin(ids, "", "ann")
    assert db.session.get_one(BootResource, ids[0]).pinned_version == ""
