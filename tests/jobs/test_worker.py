# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask, current_app
from sqlalchemy import func, select, update

from tests.jobs.conftest import Lab, check_region, images, transfers
from tests.mirror.faults import Fault
from webapp.config import Settings
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BootResource,
    BootSource,
    BootSourceCache,
    Event,
    FileTransfer,
    ImportRun,
    utcnow,
)
from webapp.services.imports import importing, runs
from webapp.services.overview import upkeep
from webapp.services.system import live_settings
from webapp.services.system.wake import wake
from webapp.storage.leases import new_owner

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("region")]

SLIPWAY = Path(sys.executable).parent / "slipway"
PATIENCE_S = 60.0


def wait_for(what: Callable[[], object]) -> None:
    """Return once it is so; each look sees what others have committed."""
    until = time.monotonic() + PATIENCE_S
    while not what():
        db.session.rollback()
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)
    db.session.rollback()


def run_now(run_id: int) -> ImportRun:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(ImportRun, run_id)


class WorkerProcess:
    """A real ``slipway worker``."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            # It ends when the tests are killed.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", str(SLIPWAY), "worker"],
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    def kill(self) -> None:
        """End it as an out-of-memory killer does."""
        self.process.kill()
        self.process.wait()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start_worker(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], WorkerProcess]]:
    """Start workers on the region's settings; what still runs at the end is killed."""
    started: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        worker = WorkerProcess(environ, tmp_path / "worker.log")
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()


def is_loading(run_id: int, least: int) -> Callable[[], bool]:
    return lambda: (
        (db.session.scalar(select(ImportRun.bytes_done).where(ImportRun.id == run_id)) or 0)
        >= least
    )


def is_ended(run_id: int) -> Callable[[], bool]:
    return lambda: run_now(run_id).finished_at is not None


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

    def look() -> bool:
        run = run_now(run_id)
        seen.append((run.bytes_done, run.bytes_total))
        return run.finished_at is not None

    worker = start_worker()
    wait_for(lambda: look() or seen[-1][0] >= 1 << 20)
    worker.kill()
    assert run_now(run_id).state == "running"
    assert images() == {}
    start_worker()
    wait_for(look)
    run = run_now(run_id)
    assert (run.state, run.sets_published) == ("succeeded", 2)
    assert run.bytes_done == run.bytes_total
    sent = lab.server.bytes_sent
    assert sent <= 1.1 * run.bytes_total, f"{sent} of {run.bytes_total}"
    assert any(request.range for request in lab.server.log)
    assert db.session.scalar(select(func.count()).where(Event.kind == "run.resumed")) == 1
    done = [bytes_done for bytes_done, _ in seen]
    assert done == sorted(done)
    assert all(bytes_done <= total for bytes_done, total in seen)
    assert len({total for _, total in seen if total}) == 1
    check_region()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_hands_its_run_to_the_next_one(
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
    lab.server.set_faults()
    start_worker()
    wait_for(is_ended(run_id))
    run = run_now(run_id)
    assert run.state == "succeeded"
    assert lab.server.bytes_sent <= 1.1 * run.bytes_total
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
    start_worker()
    wait_for(is_ended(run_id))
    run = run_now(run_id)
    assert (run.state, len(images())) == ("succeeded", 4)
    assert {transfer.state for transfer in transfers(run)} == {"done"}
    # What a kill costs is what was on the wire, not what was stored.
    assert lab.server.bytes_sent <= run.bytes_total + kills * 2 * (256 << 10)
    check_region()


# -- stop


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
    assert (run.state, run.summary) == ("stopped", "Stopped on request.")
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
    assert run_now(run_id).summary == "Stopped on request. 2 images had been published."
    after = images()
    assert {name for name in after if after[name] != before[name]} == {
        name for name in before if "jammy" in name
    }
    check_region()


# -- many workers


@pytest.mark.both_databases
def test_of_two_workers_one_imports_and_each_file_is_fetched_once(region: Flask, lab: Lab) -> None:
    lab.select("noble")
    for _ in range(10):
        forget_everything()
        lab.server.reset()
        start = threading.Barrier(2)
        worked: list[int] = []

        def work(start: threading.Barrier = start, worked: list[int] = worked) -> None:
            with region.app_context():
                owner = new_owner()
                start.wait()
                runs.queue("manual", "ann")
                run = runs.claim(owner)
                if run is not None:
                    importing.execute(run.id, owner, lambda: False)
                    worked.append(run.id)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert worked
        if len(worked) == 1:  # else the second came after the first was through
            assert db.session.scalar(select(func.count()).select_from(ImportRun)) == 1
        assert set(lab.fetched().values()) == {1}
        check_region()


def forget_everything() -> None:
    """A region that never imported."""
    for model in (ImportRun, BootResource, FileTransfer, Blob):
        db.session.execute(model.__table__.delete())
        db.session.commit()
    for digest in list(store().digests()):
        store().delete(digest)


def test_two_real_workers_share_one_run(
    make_lab: Callable[..., Lab], settings: Settings, start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(arches=("amd64", "arm64"))
    lab.select("noble", "amd64", "arm64")
    start_worker()
    start_worker()
    run_id = runs.queue("manual", "ann").id
    assert runs.queue("manual", "bob").id == run_id
    wake()
    wake()
    wait_for(is_ended(run_id))
    assert run_now(run_id).state == "succeeded"
    assert set(lab.fetched().values()) == {1}
    assert runs.current() is None


def test_a_worker_whose_run_was_taken_publishes_nothing_more(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(sizes={"squashfs": 1 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", rate=1 << 20)])

    def take() -> None:
        db.session.execute(update(ImportRun).values(lease_owner="another-host/1/1/aa"))
        db.session.commit()

    with lab.during_download(take):
        run = lab.run()
    assert (run.state, run.lease_owner) == ("running", "another-host/1/1/aa")
    assert images() == {}


# -- waking and the schedule


def test_a_woken_worker_imports_and_reads_what_nobody_has_read(
    lab: Lab, settings: Settings, start_worker: Callable[[], WorkerProcess]
) -> None:
    db.session.merge(ImportRun(state="succeeded", finished_at=utcnow(), started_at=utcnow()))
    db.session.commit()
    worker = start_worker()
    wait_for(lambda: db.session.scalar(select(func.count()).select_from(BootSourceCache)))
    run_id = runs.queue("manual", "ann").id
    wake()
    wait_for(is_ended(run_id))
    assert worker.end() == 0


def test_waking_without_a_queue_fails_nobody(
    lab: Lab, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.db").mkdir()
    broken = replace(settings, queue_url=f"sqlite:///{tmp_path}/queue.db")
    monkeypatch.setitem(current_app.extensions, "slipway.settings", broken)
    wake()


def test_a_worker_that_starts_imports_by_itself_when_the_interval_is_over(
    lab: Lab, start_worker: Callable[[], WorkerProcess]
) -> None:
    lab.select("noble")
    start_worker()
    wait_for(lambda: runs.last_ended())
    run = runs.last_ended()
    assert run is not None
    assert (run.state, run.trigger, run.requested_by) == ("succeeded", "start", "schedule")


def test_the_schedule_waits_for_its_interval_and_for_the_run_that_goes_on(lab: Lab) -> None:
    assert upkeep.queue_if_due() is not None
    assert upkeep.queue_if_due() is None
    owner = new_owner()
    run = runs.claim(owner)
    assert run is not None
    long_ago = utcnow() - timedelta(hours=5)
    db.session.execute(update(ImportRun).values(started_at=long_ago, queued_at=long_ago))
    db.session.commit()
    assert upkeep.queue_if_due() is None
    runs.finish(run.id, owner, runs.Ending(runs.RunState.SUCCEEDED, "", runs.Progress("", 0, 0, 0)))
    again = upkeep.queue_if_due()
    assert again is not None
    assert again.id != run.id
    db.session.execute(update(ImportRun).values(state="succeeded", started_at=utcnow()))
    db.session.commit()
    assert upkeep.queue_if_due() is None


def test_without_automatic_import_nothing_is_asked_of_the_mirror(
    lab: Lab, start_worker: Callable[[], WorkerProcess], environ: dict[str, str]
) -> None:
    environ["SLIPWAY_LOG_LEVEL"] = "info"
    lab.select("noble")
    lab.run()
    live_settings.set_auto_import(False, "ann")
    db.session.execute(update(ImportRun).values(started_at=utcnow() - timedelta(hours=5)))
    db.session.commit()
    lab.server.reset()
    worker = start_worker()
    wait_for(lambda: b"the automatic import is off" in worker.log.read_bytes())
    assert worker.end() == 0
    assert lab.server.log == []
    assert runs.current() is None


def test_a_new_source_is_read_while_an_import_goes_on(
    make_lab: Callable[..., Lab], settings: Settings, start_worker: Callable[[], WorkerProcess]
) -> None:
    lab = make_lab(sizes={"squashfs": 1 << 20})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", stall=(200_000, 100))])
    run_id = runs.queue("manual", "ann").id
    start_worker()
    wait_for(is_loading(run_id, 100_000))
    other = make_lab("other")
    wake()
    offers = select(func.count()).where(BootSourceCache.source_id == other.source_id)
    wait_for(lambda: db.session.scalar(offers))
    assert run_now(run_id).finished_at is None
