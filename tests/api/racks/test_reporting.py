# SPDX-License-Identifier: Apache-2.0
"""What racks report: state, counters, and machines' fetches, each kept once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select

from tests.api.racks.remote import RemoteRack
from tests.api.v1.typed import Typed
from tests.rack import images
from webapp.extensions import db
from webapp.models import BootResource, DayTraffic, Event, Rack, ResourceSet, utcnow

IMAGE = "ubuntu/amd64/ga-24.04/noble/stable"


def fetched(number: int, machine: str = "10.0.0.9", ago: float = 0.0, **values: Any) -> Any:
    at = utcnow() - timedelta(seconds=ago)
    known = {"id": number, "at": at.isoformat(), "machine": machine, "bytes": 10}
    return {**known, "name": f"{IMAGE}/squashfs", **values}


def kept(app: Flask) -> list[tuple[str, str, dict[str, Any]]]:
    with app.app_context():
        query = select(Event).where(Event.kind == "image.fetched").order_by(Event.at, Event.id)
        return [(row.actor, row.subject, row.detail) for row in db.session.scalars(query)]


def test_state_and_counters_are_kept(publisher: Flask, rack: RemoteRack) -> None:
    at = utcnow()
    machine = {"machine": "10.0.0.9", "name": "squashfs", "sent": 1, "size": 2}
    rack.report(
        **dict.fromkeys(("held_state", "held_serial", "bytes", "files", "wanted_bytes"), 7),
        **dict.fromkeys(("hits", "misses", "sent_bytes", "fetched_bytes", "speed"), 8),
        verified_at=at.isoformat(),
        errors=[{"at": at.isoformat(), "what": "The disk is full."}],
        serving=[machine],
        later="is ignored",
    )
    with publisher.app_context():
        row = db.session.get_one(Rack, rack.id)
        assert (row.held_state, row.bytes, row.hits, row.speed) == (7, 7, 8, 8)
        assert row.verified_at == at
        assert row.errors[0]["what"] == "The disk is full."
        assert row.serving == [machine]


def test_each_event_is_kept_once(publisher: Flask, rack: RemoteRack) -> None:
    batch = [fetched(1), fetched(2, "10.0.0.8")]
    assert rack.report(events=batch) == {"events": 2}
    assert rack.report(events=batch) == {"events": 2}
    assert rack.report(events=[*batch, fetched(3)]) == {"events": 3}
    assert rack.report() == {"events": 3}
    found = {actor: detail["requests"] for actor, _, detail in kept(publisher)}
    assert found == {"10.0.0.9": 2, "10.0.0.8": 1}


def test_a_batch_that_comes_twice_at_once_is_kept_once(publisher: Flask, rack: RemoteRack) -> None:
    batch = [fetched(number) for number in range(1, 101)]
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: rack.report(events=batch)["events"], range(4)))
    assert codes == [100] * 4
    assert [detail["requests"] for _, _, detail in kept(publisher)] == [100]


def test_fetches_are_counted_as_the_regions_own_are(publisher: Flask, rack: RemoteRack) -> None:
    rack.report(events=[fetched(1, ago=1500), fetched(2, ago=700, name=f"{IMAGE}/boot-kernel")])
    rack.report(events=[fetched(3, ago=690), fetched(4, ago=1)])
    assert [(subject, detail["requests"]) for _, subject, detail in kept(publisher)] == [
        (IMAGE, 1),
        (IMAGE, 2),
        (IMAGE, 1),
    ]
    detail = kept(publisher)[1][2]
    parts = [(part["file"], part["bytes"], round(part["end_s"])) for part in detail.pop("parts")]
    assert parts == [("boot-kernel", 10, 0), ("squashfs", 10, 10)]
    assert detail == {
        "status": 200,
        "requests": 2,
        "version": "",
        "bytes": 20,
        "files": ["boot-kernel", "squashfs"],
        "rack": "rack-1",
    }


def test_bytes_from_racks_count_once_in_the_traffic_of_their_day(
    publisher: Flask, rack: RemoteRack
) -> None:
    noon = (utcnow() - timedelta(days=2)).replace(hour=12)
    batch = [fetched(1, at=noon.isoformat())]
    for events in (batch, batch, [*batch, fetched(2, at=noon.isoformat(), bytes=7)]):
        rack.report(events=events)
    with publisher.app_context():
        [day] = db.session.scalars(select(DayTraffic))
        assert (day.day, day.size) == (noon.date(), 17)


def test_versions_that_machines_fetch_from_racks_count_as_fetched(
    publisher: Flask, rack: RemoteRack
) -> None:
    with publisher.app_context():
        resource = db.session.scalars(select(BootResource)).one()
        old = db.session.get_one(ResourceSet, resource.current_set_id).version
        images.switch(resource, {"squashfs": b"new"}, version="20270101")
        db.session.remove()

    def versions() -> set[str]:
        with publisher.app_context():
            is_fetched = ResourceSet.fetched_at.is_not(None)
            return set(db.session.scalars(select(ResourceSet.version).where(is_fetched)))

    rack.report(events=[fetched(1, name="gpg.key"), fetched(2, name=f"{IMAGE}/{old}x/squashfs")])
    assert versions() == set()
    rack.report(events=[fetched(3)])
    assert versions() == {"20270101"}
    rack.report(events=[fetched(4, name=f"{IMAGE}/{old}/squashfs")])
    assert versions() == {"20270101", old}


def test_events_are_not_dated_in_the_future(publisher: Flask, rack: RemoteRack) -> None:
    rack.report(events=[fetched(1, ago=-86400)])
    with publisher.app_context():
        event = db.session.scalars(select(Event).where(Event.kind == "image.fetched")).one()
        assert event.at <= utcnow()


def test_a_report_is_bounded(publisher: Flask, rack: RemoteRack) -> None:
    serving = {"machine": "10.0.0.9", "name": "x"}
    for body in (
        {"events": [fetched(n) for n in range(501)]},
        {"errors": [{"at": utcnow().isoformat(), "what": "x"}] * 21},
        {"errors": [{"at": utcnow().isoformat(), "what": "x" * 501}]},
        {"serving": [serving] * 51},
        {"serving": [serving | {"machine": "ada"}]},
        {"serving": [serving | {"name": "\0"}]},
        {"bytes": -1},
        {"bytes": 2**63},
        {"files": 2**31},
        {"verified_at": "2026-01-01T00:00:00"},
        {"verified_at": "0001-01-01T00:00:00+12:00"},
        {"errors": [{"at": "9999-12-31T23:59:59-12:00", "what": "x"}]},
        {"events": [fetched(1, at="0001-01-01T00:00:00Z")]},
        {"events": [fetched(1, at="9999-12-31T23:59:59-12:00")]},
    ):
        assert rack.call("POST", "report", body).status_code == 422, body
    assert rack.call("POST", "report", {"later": "x" * (1 << 20)}).status_code == 413
    assert kept(publisher) == []


def test_a_rack_whose_clock_was_never_set_reports(publisher: Flask, rack: RemoteRack) -> None:
    rack.report(events=[fetched(1, at="1970-01-01T00:00:09Z")])
    assert len(kept(publisher)) == 1


def test_words_of_a_rack_turn_nothing_round(
    publisher: Flask, rack: RemoteRack, program: Typed
) -> None:
    rack.report(
        errors=[{"at": utcnow().isoformat(), "what": "\u202efull \x1b[2J"}],
        serving=[{"machine": "10.0.0.9", "name": "\u2066squashfs"}],
        events=[fetched(1, name="a/\u202eb/squashfs")],
    )
    found = program.get(f"racks/{rack.id}")
    assert found["errors"][0]["what"] == r"\u202efull \x1b[2J"
    assert found["serving"][0]["name"] == r"\u2066squashfs"
    assert kept(publisher)[0][1] == r"a/\u202eb"
