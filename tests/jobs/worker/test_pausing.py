# SPDX-License-Identifier: Apache-2.0
"""Imports that a person or a window pauses inside a file, and that continue from there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.jobs.conftest import Lab, check_region, images
from tests.jobs.worker.workers import WorkerProcess, is_ended, run_now, wait_for
from tests.mirror.faults import Fault
from webapp.extensions import db, store
from webapp.models import FileTransfer, ImportRun, utcnow
from webapp.services.imports import importing, pausing, runs
from webapp.services.overview import upkeep
from webapp.services.system import live_settings
from webapp.services.system.wake import wake
from webapp.storage.leases import new_owner

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("region")]

BIG = 1 << 20


@pytest.fixture
def slow_lab(make_lab: Callable[..., Lab]) -> Lab:
    """Noble with a large file that stops coming after a part."""
    lab = make_lab(sizes={"squashfs": BIG})
    lab.select("noble")
    lab.server.set_faults([Fault(path="squashfs$", stall=(200_000, 100))])
    return lab


def squashfs(run_id: int) -> FileTransfer | None:
    db.session.rollback()
    query = select(FileTransfer).where(FileTransfer.run_id == run_id)
    return db.session.scalar(query.where(FileTransfer.filename == "squashfs"))


def is_inside(run_id: int) -> Callable[[], bool]:
    """A part of its large file is there."""
    return lambda: (row := squashfs(run_id)) is not None and row.bytes_done > 0


def is_held(run_id: int) -> Callable[[], bool]:
    """Held inside its large file: what came is kept, and nothing comes."""
    return lambda: (
        bool(run_now(run_id).hold)
        and (row := squashfs(run_id)) is not None
        and row.state == "waiting"
    )


def ranges(lab: Lab) -> list[str]:
    return [request.range for request in lab.server.log if request.path.endswith("squashfs")]


def shut_windows() -> None:
    """Windows that open in six hours."""
    hour = (utcnow() + timedelta(hours=6)).hour
    live_settings.change("import_windows", f"{hour:02}:00-{hour:02}:30", "ann")


@contextmanager
def working(app: Flask) -> Iterator[None]:
    """Carry out the queued run in a thread, as a worker does."""

    def work() -> None:
        with app.app_context():
            owner = new_owner()
            run = runs.claim(owner)
            assert run is not None
            importing.execute(run.id, owner, is_over.is_set)

    is_over = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_paused_import_stays_paused_whatever_happens_to_its_worker(
    slow_lab: Lab, start_worker: Callable[[], WorkerProcess]
) -> None:
    run_id = runs.queue("manual", "ann").id
    first = start_worker()
    wait_for(is_inside(run_id))
    assert pausing.pause("ann") is not None
    wait_for(is_held(run_id))
    assert run_now(run_id).state == "running"
    (partial,) = store().partials()
    assert partial.received > 0
    slow_lab.server.set_faults([])
    first.kill()  # the second takes over once it sees that the first is dead
    before = run_now(run_id).lease_owner
    second = start_worker()
    wake()
    wait_for(lambda: run_now(run_id).lease_owner not in ("", before))
    assert second.end() == 0  # and this one hands it back
    assert (run_now(run_id).state, run_now(run_id).hold) == ("running", "user")
    start_worker()
    wait_for(lambda: run_now(run_id).lease_owner != "")
    assert len(ranges(slow_lab)) == 1
    assert pausing.resume("ann") is not None
    wait_for(is_ended(run_id))
    assert (run_now(run_id).state, run_now(run_id).hold) == ("succeeded", "")
    assert ranges(slow_lab) == ["", f"bytes={partial.received}-"]
    check_region()


def test_a_paused_import_can_be_stopped(slow_lab: Lab, region: Flask) -> None:
    run_id = runs.queue("manual", "ann").id
    with working(region):
        wait_for(is_inside(run_id))
        pausing.pause("ann")
        wait_for(is_held(run_id))
        runs.stop("ann")
        wait_for(is_ended(run_id))
    assert (run_now(run_id).state, run_now(run_id).hold) == ("stopped", "")


def test_a_stopped_import_leaves_no_half_file_under_a_final_name(
    slow_lab: Lab, region: Flask
) -> None:
    run_id = runs.queue("manual", "ann").id
    with working(region):
        wait_for(is_inside(run_id))
        runs.stop("ann")
        wait_for(is_ended(run_id))
    assert run_now(run_id).state == "stopped"
    half = squashfs(run_id)
    assert half is not None
    (partial,) = store().partials()
    assert (partial.sha256, 0 < partial.received < half.size) == (half.sha256, True)
    path = store().path_of(half.sha256)
    assert path is not None
    assert not path.exists()
    whole = [one for one in path.parents[1].rglob("*") if one.is_file()]
    for one in whole:
        assert hashlib.sha256(one.read_bytes()).hexdigest() == one.name
    check_region()


@pytest.mark.both_databases
def test_an_unattended_import_pauses_outside_windows_and_goes_on_inside_them(
    slow_lab: Lab, region: Flask
) -> None:
    run_id = runs.queue("schedule", "schedule").id
    with working(region):
        wait_for(is_inside(run_id))
        shut_windows()
        wait_for(is_held(run_id))
        assert run_now(run_id).hold == "window"
        slow_lab.server.set_faults([])
        live_settings.change("import_windows", "", "ann")
        wait_for(is_ended(run_id))
    assert run_now(run_id).state == "succeeded"
    assert [bool(text) for text in ranges(slow_lab)] == [False, True]
    check_region()


def test_outside_windows_nothing_starts_by_itself_but_a_person_may_start_it(
    lab: Lab, region: Flask
) -> None:
    lab.select("noble")
    queued = upkeep.queue_if_due()
    assert queued is not None
    run_id = queued.id
    shut_windows()
    with working(region):
        wait_for(lambda: run_now(run_id).hold == "window")
        assert lab.server.log == []
        assert runs.queue("manual", "ann").id == run_id
        wait_for(is_ended(run_id))
    assert (run_now(run_id).state, len(images())) == ("succeeded", 2)
    long_ago = utcnow() - timedelta(hours=5)
    db.session.execute(db.update(ImportRun).values(started_at=long_ago, queued_at=long_ago))
    db.session.commit()
    assert upkeep.queue_if_due() is None
    live_settings.change("import_windows", "", "ann")
    assert upkeep.queue_if_due() is not None


def test_a_person_who_starts_an_import_does_not_resume_what_another_paused(region: Flask) -> None:
    run_id = runs.queue("schedule", "schedule").id
    pausing.pause("ann")
    assert runs.queue("manual", "bob").id == run_id
    assert (run_now(run_id).hold, run_now(run_id).is_attended) == ("user", True)
    shut_windows()
    pausing.resume("ann")
    owner = new_owner()
    runs.claim(owner)
    assert pausing.follow_windows(run_id, owner) == ""
    assert pausing.follow_windows(run_id, "another") == ""


def test_a_rate_holds_for_an_import_and_is_lifted_inside_a_file(
    make_lab: Callable[..., Lab], region: Flask
) -> None:
    lab = make_lab(sizes={"squashfs": BIG})
    lab.select("noble")
    live_settings.change("import_rate", "10 kB/s", "ann")  # it would take two minutes
    run_id = runs.queue("manual", "ann").id
    with working(region):
        wait_for(is_inside(run_id))
        row = squashfs(run_id)
        assert row is not None
        assert row.bytes_done < row.size
        live_settings.change("import_rate", "0", "ann")
        wait_for(is_ended(run_id))
    assert run_now(run_id).state == "succeeded"
    check_region()
