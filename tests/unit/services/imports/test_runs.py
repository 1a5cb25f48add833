# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from tests.support import factories
from webapp.extensions import db
from webapp.models import (
    Blob,
    BlobState,
    BootSource,
    BootSourceSelection,
    Event,
    ImportRun,
    RunState,
    TransferState,
    utcnow,
)
from webapp.services.imports import intents, runs
from webapp.services.system import live_settings
from webapp.storage.leases import new_owner

pytestmark = pytest.mark.usefixtures("region")
both = pytest.mark.both_databases

NOTHING = runs.RunProgress("", 0, 0, 0)


def states() -> list[str]:
    return list(db.session.scalars(select(ImportRun.state).order_by(ImportRun.id)))


def at_once(app: Flask, count: int, action: Callable[[], object]) -> list[object]:
    """What ``count`` threads get that do the same at the same moment."""
    start = threading.Barrier(count)
    results: list[object] = []

    def work() -> None:
        with app.app_context():
            start.wait()
            results.append(action())

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results


def test_a_start_while_one_is_queued_returns_that_one() -> None:
    first = runs.queue("manual", "ann")
    assert runs.queue("schedule", "schedule").id == first.id
    assert (first.state, first.trigger, first.requested_by) == ("queued", "manual", "ann")
    assert states() == ["queued"]


def test_a_start_during_a_run_returns_that_run() -> None:
    queued = runs.queue("manual", "ann")
    claimed = runs.claim(new_owner())
    assert claimed is not None
    assert claimed.id == queued.id
    assert runs.queue("manual", "bob").id == queued.id
    assert states() == ["running"]


@both
def test_a_start_while_a_run_is_being_stopped_makes_another() -> None:
    first = runs.queue("manual", "ann")
    owner = new_owner()
    runs.claim(owner)
    runs.stop("ann")
    second = runs.queue("manual", "ann")
    assert second.id != first.id
    assert runs.claim(new_owner()) is None
    runs.finish(first.id, owner, runs.Ending(RunState.STOPPED, "", NOTHING))
    claimed = runs.claim(new_owner())
    assert claimed is not None
    assert claimed.id == second.id


@both
def test_many_starts_at_once_make_one_run_and_one_knows_that_it_did(region: Flask) -> None:
    def start() -> tuple[int, bool]:
        started = runs.start("manual", "ann")
        return started.run.id, started.is_new

    results = at_once(region, 8, start)
    (id,) = db.session.scalars(select(ImportRun.id))
    assert Counter(results) == {(id, True): 1, (id, False): 7}
    assert states() == ["queued"]
    assert db.session.scalar(select(func.count()).where(Event.kind == "run.queued")) == 1


@both
def test_of_many_workers_one_gets_the_run(region: Flask) -> None:
    for _ in range(10):
        run_id = runs.queue("manual", "ann").id
        got = at_once(region, 4, lambda: (run := runs.claim(new_owner())) and run.id)
        assert sorted(got, key=str) == [run_id, None, None, None]
        db.session.execute(update(ImportRun).values(state="succeeded", finished_at=utcnow()))
        db.session.commit()


def test_a_live_lease_is_respected() -> None:
    runs.queue("manual", "ann")
    assert runs.claim("another-host/1/1/aa") is not None
    assert runs.claim(new_owner()) is None


@both
def test_an_expired_lease_is_taken_over() -> None:
    run = runs.queue("manual", "ann")
    runs.claim("another-host/1/1/aa")
    db.session.execute(update(ImportRun).values(lease_until=utcnow() - timedelta(seconds=1)))
    db.session.commit()
    taken = runs.claim(new_owner())
    assert taken is not None
    assert taken.id == run.id
    assert db.session.scalar(select(func.count()).where(Event.kind == "run.resumed")) == 1


@pytest.fixture(scope="module")
def dead() -> str:
    """An owner whose process has ended."""
    code = "from webapp.storage.leases import new_owner; print(new_owner())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_run_of_a_process_that_died_here_is_taken_over_at_once(dead: str) -> None:
    runs.queue("manual", "ann")
    assert runs.claim(dead) is not None
    taken = runs.claim(new_owner())
    assert taken is not None
    assert str(os.getpid()) in taken.lease_owner


def test_a_run_that_was_handed_back_is_taken_at_once() -> None:
    run = runs.queue("manual", "ann")
    owner = new_owner()
    runs.claim(owner)
    runs.release(run.id, owner)
    assert not runs.is_importing()
    assert runs.claim("another-host/1/1/aa") is not None


def test_who_lost_the_lease_can_neither_save_nor_end() -> None:
    run = runs.queue("manual", "ann")
    runs.claim("another-host/1/1/aa")
    db.session.execute(update(ImportRun).values(lease_owner="other"))
    db.session.commit()
    assert not runs.heartbeat(run.id, "another-host/1/1/aa", NOTHING).is_ours
    assert not runs.glance(run.id, "another-host/1/1/aa").is_ours
    ending = runs.Ending(RunState.SUCCEEDED, "", NOTHING)
    assert not runs.finish(run.id, "another-host/1/1/aa", ending)
    assert states() == ["running"]


@both
def test_a_heartbeat_saves_progress_renews_the_lease_and_hears_of_a_stop() -> None:
    run = runs.queue("manual", "ann")
    owner = new_owner()
    runs.claim(owner)
    transfer = factories.file_transfer(run, state="waiting", bytes_done=0)
    db.session.execute(update(ImportRun).values(lease_until=utcnow()))
    db.session.commit()
    row = {"id": transfer.id, "state": "downloading", "bytes_done": 7}
    pulse = runs.heartbeat(run.id, owner, runs.RunProgress("downloading", 10, 7, 3, [row]))
    assert pulse == runs.Pulse(is_ours=True, is_cancelled=False, stopped=[])
    db.session.expire_all()
    run = runs.current()  # type: ignore[assignment]
    assert (run.phase, run.bytes_total, run.bytes_done, run.bytes_per_s) == (
        "downloading",
        10,
        7,
        3,
    )
    assert run.lease_until is not None
    assert run.lease_until > utcnow() + timedelta(seconds=runs.LEASE_S / 2)
    assert (transfer.state, transfer.bytes_done) == ("downloading", 7)
    runs.stop("ann")
    assert runs.heartbeat(run.id, owner, NOTHING).is_cancelled
    assert runs.glance(run.id, owner).is_cancelled


def test_stop_ends_a_queued_run_at_once() -> None:
    run = runs.queue("manual", "ann")
    stopped = runs.stop("bob")
    assert stopped is not None
    assert stopped.id == run.id
    assert states() == ["stopped"]
    assert not runs.is_importing()


def test_stop_when_nothing_runs_changes_nothing() -> None:
    assert runs.stop("bob") is None
    assert states() == []
    assert db.session.scalar(select(func.count()).select_from(Event)) == 0


@both
def test_stop_ends_a_run_whose_worker_is_gone() -> None:
    run = runs.queue("manual", "ann")
    runs.claim("another-host/1/1/aa")
    transfer = factories.file_transfer(run, state="downloading", bytes_done=0)
    db.session.execute(update(ImportRun).values(lease_until=utcnow() - timedelta(seconds=1)))
    db.session.commit()
    runs.stop("bob")
    db.session.expire_all()
    assert states() == ["stopped"]
    assert transfer.state == TransferState.STOPPED


def test_importing_means_queued_or_held_by_a_living_worker() -> None:
    assert not runs.is_importing()
    runs.queue("manual", "ann")
    assert runs.is_importing()
    runs.claim("another-host/1/1/aa")
    assert runs.is_importing()
    db.session.execute(update(ImportRun).values(lease_until=utcnow() - timedelta(seconds=1)))
    db.session.commit()
    assert not runs.is_importing()


@both
def test_a_run_of_a_process_that_died_here_is_no_import_and_can_be_stopped(dead: str) -> None:
    runs.queue("manual", "ann")
    runs.claim(dead)
    assert not runs.is_importing()
    db.session.add(Blob(sha256="ab" * 32, size=1, state=BlobState.WANTED))
    db.session.commit()
    runs.stop("bob")
    assert states() == ["stopped"]
    assert db.session.scalar(select(Blob.id)) is None


def test_a_run_of_a_living_process_is_only_asked_to_stop() -> None:
    run = runs.queue("manual", "ann")
    runs.claim(new_owner())
    db.session.add(Blob(sha256="ab" * 32, size=1, state=BlobState.WANTED))
    db.session.commit()
    assert runs.is_importing()
    runs.stop("bob")
    db.session.refresh(run)
    assert (states(), run.is_cancelled) == (["running"], True)
    assert db.session.scalar(select(Blob.id)) is not None


def test_a_queued_run_counts_beside_one_of_a_process_that_died_here(dead: str) -> None:
    runs.queue("manual", "ann")
    runs.claim(dead)
    db.session.execute(update(ImportRun).values(is_cancelled=True))
    db.session.commit()
    runs.queue("manual", "bob")
    assert states() == ["running", "queued"]
    assert runs.is_importing()


@both
def test_the_end_leaves_no_open_transfer_and_no_wanted_blob() -> None:
    run = runs.queue("manual", "ann")
    owner = new_owner()
    runs.claim(owner)
    wanted = factories.blob(b"wanted", state="wanted")
    open_ = factories.file_transfer(run, state="downloading", blob_id=wanted.id)
    done = factories.file_transfer(run, state="done")
    ready = factories.blob(b"ready")
    runs.finish(run.id, owner, runs.Ending(RunState.STOPPED, "Stopped.", NOTHING))
    db.session.expire_all()
    assert (open_.state, done.state) == (TransferState.STOPPED, TransferState.DONE)
    assert list(db.session.scalars(select(Blob.sha256))) == [ready.sha256]
    ended = runs.last_ended()
    assert ended is not None
    assert (ended.state, ended.summary, ended.lease_owner) == ("stopped", "Stopped.", "")
    assert ended.finished_at is not None
    assert runs.current() is None


def test_the_end_queues_another_run_when_selections_changed_meanwhile() -> None:
    source = factories.boot_source()
    run = runs.queue("manual", "ann")
    owner = new_owner()
    runs.claim(owner)
    intent = intents.intent()
    factories.selection(source)
    assert runs.queue("manual", "ann").id == run.id
    runs.finish(run.id, owner, runs.Ending(RunState.SUCCEEDED, "", NOTHING, intent))
    again = runs.current()
    assert again is not None
    assert (again.state, again.trigger) == ("queued", "change")


def confirm_products(source: BootSource) -> None:
    source.confirmed_products = ["it:v3:noble"]
    db.session.commit()


def replace_proxy(_source: BootSource) -> None:
    live_settings.change(live_settings.HTTP_PROXY, "http://proxy.example.test:3128", "ann")


@pytest.mark.parametrize("change", [confirm_products, replace_proxy])
def test_whatever_a_run_goes_by_counts_as_a_change(change: Callable[[BootSource], None]) -> None:
    source = factories.boot_source()
    run = runs.queue("manual", "ann")
    owner = new_owner()
    runs.claim(owner)
    intent = intents.intent()
    change(source)
    runs.finish(run.id, owner, runs.Ending(RunState.FAILED, "", NOTHING, intent))
    assert runs.current() is not None


def test_the_end_queues_nothing_when_nothing_changed_or_it_was_stopped() -> None:
    selection = factories.selection()
    for state in (RunState.SUCCEEDED, RunState.STOPPED):
        run = runs.queue("manual", "ann")
        owner = new_owner()
        runs.claim(owner)
        intent = intents.intent()
        if state == RunState.STOPPED:
            selection.arches = ["*"]
            db.session.commit()
        runs.finish(run.id, owner, runs.Ending(state, "", NOTHING, intent))
        assert runs.current() is None


@both
def test_a_change_during_the_very_end_of_a_run_is_never_lost(region: Flask) -> None:
    source_id = factories.boot_source().id
    for number in range(15):
        run_id = runs.queue("manual", "ann").id
        owner = new_owner()
        runs.claim(owner)
        ending = runs.Ending(RunState.SUCCEEDED, "", NOTHING, intents.intent())
        start = threading.Barrier(2)

        def change(start: threading.Barrier = start, number: int = number) -> None:
            with region.app_context():
                start.wait()
                row = BootSourceSelection(source_id=source_id, os="ubuntu", release=f"r{number}")
                db.session.add(row)
                db.session.commit()
                runs.queue("manual", "ann")

        db.session.commit()
        thread = threading.Thread(target=change)
        thread.start()
        start.wait()
        runs.finish(run_id, owner, ending)
        thread.join()
        follower = runs.claim(new_owner())
        assert follower is not None
        assert follower.id > run_id
        db.session.execute(update(ImportRun).values(state="succeeded", finished_at=utcnow()))
        db.session.commit()
