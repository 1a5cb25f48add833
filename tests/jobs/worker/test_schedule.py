# SPDX-License-Identifier: Apache-2.0
"""Several workers at once, waking one, and imports by the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask, current_app
from sqlalchemy import func, select, update

from tests.jobs.conftest import Lab, check_region, images
from tests.jobs.worker.workers import WorkerProcess, is_ended, is_loading, run_now, wait_for
from tests.mirror.faults import Fault
from tests.support.commands import execute
from webapp.config import Settings
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BootResource,
    BootSourceCache,
    FileTransfer,
    ImportRun,
    utcnow,
)
from webapp.services.imports import importing, runs, scheduling
from webapp.services.overview import upkeep
from webapp.services.system import live_settings
from webapp.services.system.wake import wake
from webapp.storage.leases import new_owner

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("region")]


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
    make_lab: Callable[..., Lab], settings: Settings, start_worker: Callable[..., WorkerProcess]
) -> None:
    lab = make_lab(arches=("amd64", "arm64"))
    lab.select("noble", "amd64", "arm64")
    run_id = runs.queue("manual", "ann").id
    assert runs.queue("manual", "bob").id == run_id  # before a worker can be through with it
    start_worker(execute)
    start_worker()
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


def test_a_woken_worker_imports_and_reads_new_sources(
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


def test_waking_without_a_queue_raises_nothing(
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


def test_the_schedule_waits_for_its_interval_and_for_the_running_import(lab: Lab) -> None:
    assert upkeep.queue_if_due() is not None
    assert upkeep.queue_if_due() is None
    owner = new_owner()
    run = runs.claim(owner)
    assert run is not None
    long_ago = utcnow() - timedelta(hours=5)
    db.session.execute(update(ImportRun).values(started_at=long_ago, queued_at=long_ago))
    db.session.commit()
    assert upkeep.queue_if_due() is None
    runs.finish(
        run.id, owner, runs.Ending(runs.RunState.SUCCEEDED, "", runs.RunProgress("", 0, 0, 0))
    )
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


def test_a_new_source_is_read_during_an_import(
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


def test_a_schedule_and_windows_decide_when_the_next_import_starts(lab: Lab) -> None:
    now = utcnow().replace(hour=12, minute=0, second=0, microsecond=0)
    assert scheduling.next_start(now) == now  # none ran so far
    db.session.add(ImportRun(state="succeeded", started_at=now, finished_at=now))
    db.session.commit()
    assert scheduling.next_start(now) == now + timedelta(hours=1)
    live_settings.change("import_schedule", "0 15 * * *", "ann")
    assert scheduling.next_start(now) == now + timedelta(hours=3)
    live_settings.change("import_windows", "22:00-06:00", "ann")
    assert scheduling.next_start(now) == now + timedelta(hours=10)
    live_settings.change("import_time_zone", "Asia/Tokyo", "ann")  # 12:00 UTC is 21:00 there
    assert scheduling.next_start(now) == now + timedelta(hours=25)
    assert scheduling.due(now).first == now + timedelta(hours=18)
    live_settings.set_auto_import(False, "ann")
    assert scheduling.next_start(now) is None


def test_a_source_with_its_own_schedule_is_imported_by_itself(
    make_lab: Callable[..., Lab],
) -> None:
    lab, other = make_lab(), make_lab("other", releases=("focal",))
    lab.select("noble")
    other.select("focal")
    other.source.schedule = "10 minutes"
    db.session.commit()
    assert import_when_due() == ("schedule", [lab.source_id])  # the other isn't due yet
    assert {name.split()[0] for name in images()} == {"ubuntu/noble"}
    assert upkeep.queue_if_due() is None
    other.source.created_at = utcnow() - timedelta(hours=1)
    db.session.commit()
    lab.server.reset()
    assert import_when_due() == ("source", [other.source_id])
    assert {name.split()[0] for name in images()} == {"ubuntu/noble", "ubuntu/focal"}
    assert lab.server.log == []
    assert upkeep.queue_if_due() is None
    for one in (lab, other):
        one.source.imported_at = utcnow() - timedelta(hours=2)
    db.session.execute(update(ImportRun).values(started_at=utcnow() - timedelta(hours=2)))
    db.session.commit()
    assert import_when_due() == ("schedule", None)
    check_region()


def import_when_due() -> tuple[str, list[int] | None]:
    run = upkeep.queue_if_due()
    assert run is not None
    owner = new_owner()
    assert runs.claim(owner) is not None
    assert importing.execute(run.id, owner, lambda: False) == "succeeded"
    db.session.expire_all()
    return run.trigger, run.source_ids


def test_an_import_of_all_sources_waits_behind_one_of_some(lab: Lab) -> None:
    some = runs.queue("source", "schedule", [lab.source_id]).id
    assert runs.queue("source", "schedule", [lab.source_id]).id == some
    owner = new_owner()
    runs.claim(owner)
    behind = runs.queue("manual", "ann")
    assert (behind.id != some, behind.state, behind.source_ids) == (True, "queued", None)
    assert runs.queue("manual", "bob").id == behind.id
    importing.execute(some, owner, lambda: False)
    assert runs.stop("ann") is not None
    waiting = runs.queue("source", "schedule", [lab.source_id])
    assert runs.queue("manual", "ann").id == waiting.id  # it reads all of them now
    db.session.expire_all()
    assert (waiting.source_ids, waiting.trigger, waiting.is_attended) == (None, "manual", True)
