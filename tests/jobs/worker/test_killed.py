# SPDX-License-Identifier: Apache-2.0
"""Real workers: killed, ended and stopped in the middle of an import."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.api.clients import Script
from tests.jobs.conftest import Lab, check_region, images, transfers
from tests.jobs.worker.workers import (
    DOCUMENTS,
    WorkerProcess,
    is_ended,
    is_loading,
    kept,
    run_now,
    wait_for,
)
from tests.mirror.faults import Fault
from tests.support import factories
from webapp.config import Settings
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BootResource,
    BootSource,
    Event,
    Role,
    utcnow,
)
from webapp.services.accounts import keys
from webapp.services.imports import runs
from webapp.services.system.wake import wake

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("region")]


# -- kill and leave


@pytest.mark.both_databases
def test_a_worker_killed_in_a_download_is_resumed_by_the_next_one_at_once(
    make_lab: Callable[..., Lab], start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(sizes={"squashfs": 4 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", rate=2 << 20)])
    run_id = runs.queue("manual", "ann").id
    seen: list[tuple[int, int]] = []

    def has_progress() -> bool:
        run = run_now(run_id)
        seen.append((run.bytes_done, run.bytes_total))
        return run.finished_at is not None

    worker = start_worker()
    wait_for(lambda: has_progress() or seen[-1][0] >= 1 << 20)
    worker.kill()
    assert run_now(run_id).state == "running"
    assert images() == {}
    before = kept()
    lab.server.set_faults()
    lab.server.reset()
    start_worker()
    wait_for(has_progress)
    run = run_now(run_id)
    assert (run.state, run.sets_published) == ("succeeded", 2)
    assert run.bytes_done == run.bytes_total
    # What was on the wire is lost, however much that was; what was stored never comes again.
    assert before >= 1 << 19
    assert lab.server.bytes_sent <= run.bytes_total - before + DOCUMENTS
    assert any(request.range for request in lab.server.log)
    assert db.session.scalar(select(func.count()).where(Event.kind == "run.resumed")) == 1
    done = [bytes_done for bytes_done, _ in seen]
    assert done == sorted(done)
    assert all(bytes_done <= total for bytes_done, total in seen)
    assert len({total for _, total in seen if total}) == 1
    check_region()


@pytest.mark.both_databases
def test_a_killed_worker_imports_no_longer_until_the_next_one_resumes(
    make_lab: Callable[..., Lab],
    make_app: Callable[[str], Flask],
    start_worker: Callable[[], WorkerProcess],
) -> None:
    key = keys.create_api_key(factories.user(role=Role.VIEWER), "a script")
    lab = make_lab(sizes={"squashfs": 4 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", rate=2 << 20)])
    run_id = runs.queue("manual", "ann").id
    worker = start_worker()
    wait_for(is_loading(run_id, 1 << 20))
    assert runs.is_importing()
    worker.kill()
    script = Script(make_app("web").test_client(), key)  # of a server that starts only now

    def is_importing() -> bool:
        return bool(script.get("boot-resources/", op="is_importing").json)

    assert not is_importing()
    left = run_now(run_id)
    assert left.state == "running"
    assert left.lease_until is not None
    assert left.lease_until > utcnow()  # its lease is not what tells
    start_worker()
    wait_for(is_importing)
    lab.server.set_faults()
    wait_for(is_ended(run_id))
    assert run_now(run_id).state == "succeeded"
    assert db.session.scalar(select(func.count()).where(Event.kind == "run.resumed")) == 1
    check_region()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_worker_hands_its_run_to_the_next_one(
    make_lab: Callable[..., Lab], start_worker: Callable[[], WorkerProcess], number: int
) -> None:
    lab = make_lab(sizes={"squashfs": 4 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", rate=2 << 20)])
    run_id = runs.queue("manual", "ann").id
    worker = start_worker()
    wait_for(is_loading(run_id, 1 << 20))
    assert worker.end(number) == 0
    left = run_now(run_id)
    assert (left.state, left.lease_owner) == ("running", "")
    assert not runs.is_importing()
    assert [partial.received > 0 for partial in store().partials()] == [True]
    before = kept()
    lab.server.set_faults()
    lab.server.reset()
    start_worker()
    wait_for(is_ended(run_id))
    run = run_now(run_id)
    assert run.state == "succeeded"
    assert lab.server.bytes_sent <= run.bytes_total - before + DOCUMENTS
    check_region()


def test_a_worker_killed_again_and_again_loses_nothing(
    make_lab: Callable[..., Lab], start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(releases=("noble", "jammy"), sizes={"squashfs": 1 << 20})
    lab.select("noble")
    lab.select("jammy")
    lab.server.set_faults([Fault(path="(squashfs|initrd)$", rate=1 << 20)])
    run_id = runs.queue("manual", "ann").id
    kills = 4
    for number in range(1, kills + 1):
        worker = start_worker()
        wait_for(is_loading(run_id, number * 400_000))
        worker.kill()
        check_region()
    lab.server.set_faults()
    start_worker()
    wait_for(is_ended(run_id))
    run = run_now(run_id)
    assert (run.state, len(images())) == ("succeeded", 4)
    assert {transfer.state for transfer in transfers(run)} == {"done"}
    # What a kill costs is what was on the wire, not what was stored.
    assert lab.server.bytes_sent <= run.bytes_total + kills * 2 * (256 << 10)
    check_region()


def test_what_changed_between_two_workers_is_planned_again_and_kept_with_the_run(
    make_lab: Callable[..., Lab], start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(releases=("noble", "jammy"), sizes={"squashfs": 1 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="noble.*squashfs$", rate=1 << 20)])
    run_id = runs.queue("manual", "ann").id
    worker = start_worker()
    wait_for(is_loading(run_id, 400_000))
    worker.kill()
    planned = run_now(run_id).plan
    assert planned is not None
    assert ({one["name"] for one in planned["actions"]}, planned["changes"]) == (
        {"ubuntu/noble"},
        [],
    )
    lab.unselect("noble")
    lab.select("jammy")
    lab.server.reset()
    start_worker()
    wait_for(is_ended(run_id))
    run = run_now(run_id)
    assert (run.state, {name.split()[0] for name in images()}) == ("succeeded", {"ubuntu/jammy"})
    assert run.plan is not None
    assert {one["name"] for one in run.plan["actions"]} == {"ubuntu/jammy"}
    assert all("ubuntu/jammy" in change for change in run.plan["changes"])
    assert len(run.plan["changes"]) == 2
    assert not any("noble" in path for path in lab.fetched())
    assert {transfer.state for transfer in transfers(run)} == {"done"}
    wait_for(lambda: runs.current() is None)  # the change that the run saw itself needs no other
    assert [one.id for one in runs.recent()] == [run_id]
    check_region()


# -- stop


def test_a_stop_ends_a_run_whose_worker_was_killed_at_once(
    make_lab: Callable[..., Lab], start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(sizes={"squashfs": 4 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", rate=1 << 20)])
    run_id = runs.queue("manual", "ann").id
    worker = start_worker()
    wait_for(is_loading(run_id, 200_000))
    worker.kill()
    runs.stop("ann")
    run = run_now(run_id)
    assert run.state == "stopped"
    assert "stopped" in {transfer.state for transfer in transfers(run)}
    check_region()


def test_a_stop_ends_a_download_and_keeps_what_came(
    make_lab: Callable[..., Lab], settings: Settings, start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(sizes={"squashfs": 4 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", rate=1 << 20)])
    run_id = runs.queue("manual", "ann").id
    start_worker()
    wait_for(is_loading(run_id, 200_000))
    runs.stop("ann")
    wait_for(is_ended(run_id))
    run = run_now(run_id)
    assert (run.state, run.summary) == ("stopped", "Stopped by user.")
    assert not runs.is_importing()
    assert images() == {}
    assert db.session.scalar(select(BootResource.id)) is None
    assert db.session.scalar(select(Blob.id).where(Blob.state != "ready")) is None
    assert "stopped" in {transfer.state for transfer in transfers(run)}
    before = lab.server.bytes_sent
    lab.server.set_faults()
    second = runs.queue("manual", "ann").id
    assert second != run_id
    wake()
    wait_for(is_ended(second))
    assert run_now(second).state == "succeeded"
    whole = sum(lab.wanted(release="noble").values())
    assert lab.server.bytes_sent <= 1.1 * whole
    assert before < whole
    check_region()


def test_a_stop_ends_a_refresh_that_hangs(
    lab: Lab, start_worker: Callable[[], WorkerProcess]
) -> None:
    lab.select("noble")
    lab.server.set_faults([Fault(path="index", hang=50)])
    run_id = runs.queue("manual", "ann").id
    start_worker()
    wait_for(lambda: lab.server.log_now())
    runs.stop("ann")
    wait_for(is_ended(run_id))
    assert run_now(run_id).state == "stopped"
    db.session.expire_all()
    assert db.session.get_one(BootSource, lab.source_id).error_code == ""


def test_a_stop_keeps_old_versions_and_those_that_had_come(
    make_lab: Callable[..., Lab], start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(sizes={"squashfs": 1 << 20})
    lab.select("jammy")
    lab.select("noble")
    lab.run()
    before = images()
    lab.mirror.publish_next()
    lab.server.reset()
    lab.server.set_faults([Fault(path="noble/.*squashfs$", rate=200_000)])
    run_id = runs.queue("manual", "ann").id
    start_worker()
    wait_for(lambda: run_now(run_id).sets_published >= 2)
    runs.stop("ann")
    wait_for(is_ended(run_id))
    assert run_now(run_id).summary == "Stopped by user. 1 image published before that."
    after = images()
    assert {name for name in after if after[name] != before[name]} == {
        name for name in before if "jammy" in name
    }
    check_region()
