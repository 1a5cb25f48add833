# SPDX-License-Identifier: Apache-2.0
"""A run does exactly the plan that it was started with, or nothing; its plan stays with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.jobs.conftest import Lab, carry_out, check_region, failures, images, transfers
from tests.jobs.imports.streams import drop
from tests.jobs.retention.later import LOW, NOBLE
from webapp.extensions import db
from webapp.models import BootSource, FileTransfer, ImportRun, utcnow
from webapp.services.imports import approving, preview, runs
from webapp.services.imports.approving import PlanChanged
from webapp.services.overview import upkeep
from webapp.services.sources import sources
from webapp.storage.leases import new_owner

pytestmark = pytest.mark.usefixtures("region")


@pytest.fixture
def read(lab: Lab) -> Lab:
    """A source that was read, with noble selected afterwards."""
    lab.run()
    lab.select("noble")
    return lab


@pytest.mark.both_databases
def test_an_approved_plan_is_carried_out_and_kept_with_its_run(read: Lab) -> None:
    found = preview.next_report()
    assert [(one.kind, one.name) for one in found.actions] == [("add", "ubuntu/noble")] * 2
    read.server.reset()
    run = carry_out(approving.start(found.digest, "ann"))
    assert (run.state, run.requested_by, run.is_approved) == ("succeeded", "ann", True)
    # What was asked of the mirror, file by file and byte by byte, is what the plan said.
    wanted = read.wanted(release="noble")
    assert found.bytes_to_fetch == sum(wanted.values()) == run.bytes_done
    assert {read.mirror.sha256[path] for path in read.fetched()} == set(wanted)
    assert set(images()) == {NOBLE, LOW}
    assert run.plan is not None
    assert (run.plan["digest"], run.plan["changes"]) == (found.digest, [])
    assert {one.mirror for one in transfers(run)} == {read.server.source_url}
    assert preview.next_report().is_empty
    check_region()


def test_old_runs_go_with_their_files_and_young_ones_stay(
    read: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "RUN_BATCH", 1)
    read.run()
    ages = {run.id: age for run, age in zip(runs.recent(), (1, 91), strict=True)}
    for run_id, age in ages.items():
        then = utcnow() - timedelta(days=age)
        db.session.get_one(ImportRun, run_id).finished_at = then
    db.session.commit()
    old = [run_id for run_id, age in ages.items() if age > 90]
    upkeep.reconcile()
    db.session.expire_all()
    assert not set(old) & {run.id for run in runs.recent()}
    assert set(ages) - set(old) <= {run.id for run in runs.recent()}
    assert not db.session.scalar(select(FileTransfer.id).where(FileTransfer.run_id.in_(old)))


def test_a_plan_that_was_seen_before_something_changed_is_not_started(read: Lab) -> None:
    digest = preview.next_report().digest
    read.select("jammy")
    before = len(runs.recent())
    with pytest.raises(PlanChanged):
        approving.start(digest, "ann")
    assert len(runs.recent()) == before


def test_a_source_that_changes_under_an_approved_plan_stops_it_before_the_first_byte(
    read: Lab,
) -> None:
    run = approving.start(preview.next_report().digest, "ann")
    read.mirror.publish_next()
    read.server.reset()
    run = carry_out(run)
    assert (run.state, [one.code for one in failures(run)]) == ("failed", ["plan-changed"])
    assert run.summary.startswith("Nothing was changed")
    assert run.plan is not None
    assert "would become" in run.plan["changes"][0]
    assert images() == {}
    assert not read.fetched()


def test_a_plan_is_queued_behind_the_run_that_is_at_work(read: Lab) -> None:
    running = runs.queue("schedule", "schedule").id
    assert runs.claim(new_owner()) is not None
    one = approving.start(preview.next_report().digest, "ann").id
    assert one != running
    assert approving.start(preview.next_report().digest, "bob").id == one
    states = list(db.session.scalars(select(ImportRun.state).order_by(ImportRun.id)))
    assert states[-2:] == ["running", "queued"]


def test_most_images_of_a_removed_source_wait_for_a_person_and_go_with_the_plan(
    read: Lab, lab: Lab
) -> None:
    read.run()
    sources.remove(db.session.get_one(BootSource, lab.source_id), "ann")
    keyring = lab.mirror.keyring.read_bytes()
    other = BootSource(url=lab.server.source_url, name="other", keyring_data=keyring)
    db.session.add(other)
    db.session.commit()
    lab.source_id = other.id
    lab.select("jammy")
    run = lab.run()
    assert [one.code for one in failures(run)] == ["removal-unconfirmed"]
    run = db.session.scalars(select(ImportRun).order_by(ImportRun.id.desc())).first()
    assert run is not None
    run.plan = {name: value for name, value in (run.plan or {}).items() if name != "held"}
    db.session.commit()  # as it was kept before an upgrade
    # More images came, so that it's no longer more than half: they still wait.
    assert len(images()) == 4
    lab.run()
    assert {NOBLE, LOW} < set(images())
    found = preview.next_report()
    assert {one.architecture for one in found.wait} == {
        "amd64/ga-24.04",
        "amd64/ga-24.04-lowlatency",
    }
    run = carry_out(approving.start(found.digest, "ann"))
    assert run.state == "succeeded"
    assert not {NOBLE, LOW} & set(images())
    check_region()


def test_removals_that_wait_still_wait_after_an_import_of_other_sources_alone(
    make_lab: Callable[..., Lab],
) -> None:
    lab, other = make_lab(kernels=4), make_lab("other", releases=("focal",))
    lab.select("noble")
    lab.run()
    lab.mirror.publish_next(edit=drop("lowlatency", "hwe-24.04"))
    run = lab.run()
    assert [one.code for one in failures(run)] == ["removal-unconfirmed"]
    waiting = {one.architecture for one in preview.next_report().wait}
    assert len(waiting) == 3
    other.select("focal")
    lab.select("jammy")
    carry_out(runs.queue("source", "schedule", [other.source_id]))
    assert "ubuntu/focal" in str(images())
    # Now they're less than half of what is stored.
    run = lab.run()
    assert [one.code for one in failures(run)] == ["removal-unconfirmed"]
    assert {one.architecture for one in preview.next_report().wait} == waiting
    assert not waiting - {name.split()[1] for name in images()}
