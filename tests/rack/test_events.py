# SPDX-License-Identifier: Apache-2.0
"""One event for what a machine fetched, written aside and in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.rack import images
from tests.rack.conftest import BASE
from tests.support.databases import Queries
from webapp.extensions import db, store
from webapp.models import DayTraffic, Event, utcnow
from webapp.services.system import recorder as recording
from webapp.services.system import traffic
from webapp.services.system.recorder import Recorder, Tally

KERNEL = images.FILES["boot-kernel"]
IMAGE = BASE.removeprefix("/images/")


def written(rack: Flask) -> list[Event]:
    rack.extensions["slipway.rack"].recorder.flush()
    db.session.rollback()
    return list(db.session.scalars(select(Event).where(Event.kind.startswith("image."))))


def test_a_fetch_is_an_event(rack: Flask, machine: FlaskClient) -> None:
    machine.get(f"{BASE}/boot-kernel", environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    [event] = written(rack)
    assert (event.kind, event.actor, event.subject) == ("image.fetched", "192.0.2.7", IMAGE)
    [part] = event.detail.pop("parts")
    assert part.pop("took_s") >= 0
    assert part.pop("end_s") >= 0
    assert part == {"file": "boot-kernel", "bytes": len(KERNEL), "missing": 0}
    assert event.detail == {
        "status": 200,
        "bytes": len(KERNEL),
        "version": "20260105",
        "requests": 1,
        "files": ["boot-kernel"],
    }


def test_each_image_and_each_machine_is_an_event(rack: Flask, machine: FlaskClient) -> None:
    for address in ("192.0.2.7", "192.0.2.8"):
        for name in images.FILES:
            machine.get(f"{BASE}/{name}", environ_overrides={"REMOTE_ADDR": address})
    found = written(rack)
    assert sorted(event.actor for event in found) == ["192.0.2.7", "192.0.2.8"]
    assert all(set(event.detail["files"]) == set(images.FILES) for event in found)
    machine.get(f"{BASE}/boot-kernel", environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    again = written(rack)  # the row is counted on
    assert [event.id for event in again] == [event.id for event in found]
    assert sum(event.detail["requests"] for event in again) == 2 * len(images.FILES) + 1


def test_a_storm_of_ranges_is_one_event(
    rack: Flask,
    machine: FlaskClient,
    count_queries: Callable[[], AbstractContextManager[Queries]],
) -> None:
    machine.head(f"{BASE}/boot-kernel")
    with count_queries() as queries:
        for at in range(500):
            machine.get(f"{BASE}/boot-kernel", headers={"Range": f"bytes={at % 5}-{at % 5}"})
        found = written(rack)
    assert sum(event.detail["requests"] for event in found) == 500
    assert sum(event.detail["bytes"] for event in found) == 500
    assert len(found) == 1
    assert len(queries) < 100


@pytest.mark.both_databases
def test_bytes_are_added_to_their_day_once(rack: Flask, machine: FlaskClient) -> None:
    for number in (1, 2):
        machine.get(f"{BASE}/boot-kernel")
        for _ in range(2):
            written(rack)
        [day] = db.session.scalars(select(DayTraffic))
        assert (day.day, day.size) == (utcnow().date(), number * len(KERNEL))
        db.session.rollback()


@pytest.mark.usefixtures("rack")
def test_a_write_that_failed_adds_its_bytes_later_and_others_than_fetches_none() -> None:
    at = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    fetch = Tally("image.fetched", "192.0.2.7", IMAGE, at=at, requests=1, size=10)
    reader = Tally("mirror.read", "192.0.2.8", "mirror", at=at, requests=1, size=99)
    with db.engine.begin() as connection:
        recording.put(connection, [fetch])
        connection.rollback()
    recording.write(db.engine, [fetch, reader])
    fetch.size += 5
    recording.write(db.engine, [fetch])
    week = traffic.week(at.date() + timedelta(days=1))
    assert [(one.day.day, one.size) for one in week[-3:]] == [(29, 0), (30, 15), (1, 0)]
    assert len(week) == 7


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("HEAD", f"{BASE}/boot-kernel", {}),
        ("GET", f"{BASE}/nothing", {}),
        ("GET", "/", {}),
        ("POST", f"{BASE}/boot-kernel", {}),
        ("GET", f"{BASE}/boot-kernel", {"If-None-Match": "*"}),
        ("GET", f"{BASE}/boot-kernel", {"Range": "bytes=99-"}),
        ("GET", f"{BASE}/boot-kernel", {"If-Match": '"x"'}),
    ],
)
def test_what_delivers_nothing_writes_nothing(
    method: str, path: str, headers: dict[str, str], rack: Flask, machine: FlaskClient
) -> None:
    machine.open(path, method=method, headers=headers)
    assert written(rack) == []


def test_missing_bytes_are_an_event(rack: Flask, machine: FlaskClient) -> None:
    store().delete(hashlib.sha256(KERNEL).hexdigest())
    machine.get(f"{BASE}/boot-kernel")
    [event] = written(rack)
    assert (event.kind, event.subject, event.detail["status"]) == ("image.unavailable", IMAGE, 503)


def test_a_body_that_broke_off_counts_what_was_sent(rack: Flask) -> None:
    content = bytes(3 << 20)
    images.image({"squashfs": content})
    answer = rack.test_client().get(f"{BASE}/squashfs", buffered=False)
    answer.response.close()
    [event] = written(rack)
    sent = event.detail["bytes"]
    assert sent < len(content)
    assert [part["missing"] for part in event.detail["parts"]] == [len(content) - sent]


@pytest.mark.parametrize(
    ("proxies", "header", "actor"),
    [
        (0, "198.51.100.1", "192.0.2.7"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        (2, "203.0.113.9, 198.51.100.1", "203.0.113.9"),
        (2, "198.51.100.1", "192.0.2.7"),
        (1, "<script>", "192.0.2.7"),
        (1, "", "192.0.2.7"),
        (1, "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_actor_behind_trusted_proxies(
    proxies: int, header: str, actor: str, rack: Flask, machine: FlaskClient
) -> None:
    rack.extensions["slipway.rack"]._trusted_proxies = proxies
    machine.get(
        f"{BASE}/boot-kernel",
        headers={"X-Forwarded-For": header},
        environ_overrides={"REMOTE_ADDR": "192.0.2.7"},
    )
    [event] = written(rack)
    assert event.actor == actor


class Sink:
    """Takes batches, or fails as a locked database does."""

    def __init__(self) -> None:
        self.is_failing = False
        self.batches: list[list[Tally]] = []

    def __call__(self, fetches: Iterable[Tally]) -> None:
        if self.is_failing:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        self.batches.append(list(fetches))

    @property
    def requests(self) -> int:
        return sum(seen.requests for batch in self.batches for seen in batch)


def test_a_failing_database_loses_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "PERIOD_S", 3600.0)
    sink = Sink()
    recorder = Recorder(sink)
    recorder.add("image.fetched", "a", "p", version="v", status=200, size=5)
    sink.is_failing = True
    recorder.flush()
    recorder.add("image.fetched", "a", "p", version="v", status=200, size=5)
    recorder.add("image.fetched", "b", "p", version="v", status=200, size=5)
    recorder.flush()
    assert sink.batches == []
    sink.is_failing = False
    recorder.flush()
    assert [(s.actor, s.requests, s.size) for s in sink.batches[0]] == [("a", 2, 10), ("b", 1, 5)]


@pytest.mark.parametrize("is_failing", [False, True])
def test_what_exceeds_the_bound_is_counted_not_kept(
    is_failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "PERIOD_S", 3600.0)
    monkeypatch.setattr(recording, "MAX_KEPT", 3)
    sink = Sink()
    recorder = Recorder(sink)
    for machine in range(5):
        recorder.add("image.fetched", f"{machine}", "p", version="v", status=200, size=5)
    assert recorder.dropped == 2
    sink.is_failing = is_failing
    recorder.flush()
    recorder.add("image.fetched", "too early", "p", version="v", status=200, size=5)
    assert recorder.dropped == 1  # those of the last minutes leave no room
    monkeypatch.setattr(recording, "WINDOW_S", 0.0)
    recorder.add("image.fetched", "another", "p", version="v", status=200, size=5)
    sink.is_failing = False
    recorder.flush()
    assert sink.requests == (3 if is_failing else 4)


def test_close_writes_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "PERIOD_S", 3600.0)
    sink = Sink()
    recorder = Recorder(sink)
    recorder.close()
    recorder = Recorder(sink)
    recorder.add("image.fetched", "a", "p", version="v", status=200, size=5)
    recorder.close()
    assert sink.requests == 1
