# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.support import factories
from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import FileTransfer, ImportRun, TransferState
from webapp.services.imports import progress, runs
from webapp.services.imports.progress import Reporter, Speed, Transfer
from webapp.storage.leases import new_owner

NOTHING = runs.RunProgress("", 0, 0, 0)


def reporter(before: runs.RunProgress = NOTHING) -> Reporter:
    """One that saves nothing: its thread is not started."""
    return Reporter(Flask("none"), 1, "me", lambda: False, before)


def ratio(saved: runs.RunProgress) -> float:
    return saved.bytes_done / saved.bytes_total if saved.bytes_total else 0.0


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 120)), max_size=60),
)
def test_progress_never_falls_and_never_passes_the_whole(
    sizes: list[int], steps: list[tuple[int, int]]
) -> None:
    report = reporter()
    report.expect([Transfer(n, str(n), size) for n, size in enumerate(sizes)])
    seen = []
    for number, offset in steps:
        if number < len(sizes):
            report.start(str(number), TransferState.DOWNLOADING)
            report.at(str(number), offset)  # also back to 0, as when a file starts over
        seen.append(ratio(report.snapshot()))
    for number in range(len(sizes)):
        report.end(str(number), TransferState.DONE)
    last = report.snapshot()
    assert seen == sorted(seen)
    assert all(0 <= value <= 1 for value in seen)
    assert last.bytes_done == last.bytes_total == sum(sizes)


def test_a_resumed_run_continues_from_what_was_reported_before() -> None:
    report = reporter(runs.RunProgress("downloading", 100, 70, 0))
    assert (report.snapshot().bytes_done, report.snapshot().bytes_total) == (70, 100)
    report.expect([Transfer(1, "a", 100, done=60)])
    assert report.snapshot().bytes_done == 70
    report.at("a", 80)
    assert report.snapshot().bytes_done == 80


def test_what_was_in_the_store_before_does_not_count() -> None:
    report = reporter()
    report.expect(
        [
            Transfer(1, "here", 900, done=900, state=TransferState.DONE, is_counted=False),
            Transfer(2, "new", 100),
        ]
    )
    report.at("new", 50)
    saved = report.snapshot()
    assert (saved.bytes_done, saved.bytes_total) == (50, 100)


def test_only_what_changed_is_saved() -> None:
    report = reporter()
    report.expect([Transfer(n, str(n), 10) for n in range(3)])
    assert report.snapshot().transfers == []
    report.start("1", TransferState.DOWNLOADING)
    report.at("1", 4)
    report.retry("1", Problem("Slow."), 9)
    (row,) = report.snapshot().transfers
    assert (row["id"], row["state"], row["bytes_done"], row["retries"]) == (1, "downloading", 4, 1)
    assert row["started_at"] is not None
    report.end("1", TransferState.DONE)
    (row,) = report.snapshot().transfers
    assert (row["state"], row["bytes_done"], row["bytes_per_s"]) == ("done", 10, 0)
    assert report.snapshot().transfers == []


def test_speed_is_measured_over_the_last_seconds_only() -> None:
    now = 0.0
    speed = Speed(lambda: now)
    assert speed.measure() == 0
    for _ in range(10):
        now += 1.0
        speed.add(100)
        assert speed.measure() == 100
    for _ in range(4):
        now += 1.0
        speed.measure()
    assert 0 < speed.measure() < 100
    now += 60.0
    speed.measure()
    now += 60.0
    assert speed.measure() == 0


def test_bytes_that_were_there_before_are_no_speed() -> None:
    report = reporter()
    report.expect([Transfer(1, "a", 10_000_000)])
    report.resume("a", 9_999_999)
    assert report.snapshot().bytes_per_s == 0
    assert report.snapshot().bytes_done == 9_999_999


# -- against the database


@contextmanager
def listening(region: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Reporter, int]]:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.01)
    run = runs.queue("manual", "ann")
    owner = new_owner()
    runs.claim(owner)
    transfer = factories.file_transfer(run, state="waiting", bytes_done=0, size=1000)
    run_id, transfer_id = run.id, transfer.id
    db.session.commit()
    with Reporter(region, run_id, owner, lambda: False, NOTHING) as report:
        report.expect([Transfer(transfer_id, "a", 1000)])
        yield report, run_id


def saved(run_id: int) -> tuple[int, int]:
    db.session.rollback()
    row = db.session.execute(
        select(ImportRun.bytes_done, FileTransfer.bytes_done)
        .join(FileTransfer)
        .where(ImportRun.id == run_id)
    ).one()
    return row[0], row[1]


def test_progress_reaches_the_database_without_being_asked(
    region: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(region, monkeypatch) as (report, run_id):
        report.start("a", TransferState.DOWNLOADING)
        report.at("a", 400)
        while saved(run_id) != (400, 400):
            continue


def test_a_stop_and_a_loss_are_heard(region: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(region, monkeypatch) as (report, run_id):
        assert not report.is_stopped()
        runs.stop("ann")
        while not report.is_stopped():
            continue
        assert report.is_cancelled
        assert not report.is_lost
        db.session.execute(ImportRun.__table__.update().values(lease_owner="other"))
        db.session.commit()
        while not report.is_lost:
            continue
        assert run_id


def test_what_could_not_be_saved_is_saved_later(
    region: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat, tries = runs.heartbeat, []

    def unlucky(run_id: int, owner: str, report: runs.RunProgress) -> runs.Pulse:
        tries.append(report)
        if len(tries) < 3:
            raise OperationalError("UPDATE", {}, Exception("the database is away"))
        return heartbeat(run_id, owner, report)

    monkeypatch.setattr(runs, "heartbeat", unlucky)
    with listening(region, monkeypatch) as (report, run_id):
        report.start("a", TransferState.VERIFYING)
        report.at("a", 400)
        while saved(run_id) != (400, 400):
            continue
        assert not report.is_lost


@pytest.mark.usefixtures("region")
def test_ids_of_transfers_survive_between_beats() -> None:
    run = runs.queue("manual", "ann")
    rows = [factories.file_transfer(run, bytes_done=0) for _ in range(3)]
    runs.save_transfers([{"id": row.id, "bytes_done": 5} for row in rows])
    db.session.commit()
    db.session.expire_all()
    assert list(db.session.scalars(select(FileTransfer.bytes_done))) == [5, 5, 5]
