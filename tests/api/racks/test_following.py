# SPDX-License-Identifier: Apache-2.0
"""Racks learn of a new state of the stream at once, in a bounded number of threads."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from tests.api.racks.remote import RemoteRack, enrol
from tests.rack import images
from webapp.extensions import db
from webapp.models import Rack, utcnow
from webapp.services.mirror import publishing
from webapp.services.racks import offering
from webapp.services.racks.board import Board


def publish(app: Flask, release: str) -> None:
    with app.app_context():
        images.image(release=release, product=f"p:v3:{release}")
        assert publishing.reconcile()
        db.session.remove()


def change(app: Flask, rack: RemoteRack, **values: object) -> None:
    with app.app_context():
        mine = update(Rack).where(Rack.id == rack.id)
        revision = Rack.settings_revision + 1
        db.session.execute(mine.values(settings_revision=revision, **values))
        db.session.commit()


def waiting(rack: RemoteRack, pool: ThreadPoolExecutor) -> Future[object]:
    return pool.submit(rack.next, rack.next()["state"], 20)


def test_the_first_answer_comes_at_once(publisher: Flask, rack: RemoteRack) -> None:
    found = rack.next(wait=20)
    index = publisher.test_client().get(found["mirror_path"] + "streams/v1/index.sjson")
    assert found["index_sha256"] == hashlib.sha256(index.data).hexdigest()
    assert found["settings"] == {
        "mode": "everything",
        "images": [],
        "max_bytes": None,
        "rate": None,
        "upstreams": [],
        "is_drained": False,
        "verify": 0,
        "after_rack": None,
    }
    assert (found["again_s"], found["serial"] > 0) == (0, True)
    again = rack.next(after=found["state"])
    assert again == found, "nothing changed and no time to wait"


def test_a_publish_and_a_changed_setting_end_the_wait(publisher: Flask, rack: RemoteRack) -> None:
    before = rack.next()
    with ThreadPoolExecutor() as pool:
        asked = waiting(rack, pool)
        publish(publisher, "jammy")
        after = asked.result(timeout=15)
        assert after["serial"] > before["serial"]
        assert after["index_sha256"] != before["index_sha256"]
        asked = waiting(rack, pool)
        change(publisher, rack, mode="on-demand", max_bytes=7)
        changed = asked.result(timeout=15)
    assert changed["index_sha256"] == after["index_sha256"]
    assert changed["state"] != after["state"]
    assert (changed["settings"]["mode"], changed["settings"]["max_bytes"]) == ("on-demand", 7)


def test_a_removed_rack_is_told(publisher: Flask, rack: RemoteRack) -> None:
    state = rack.next()["state"]
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(rack.call, "GET", "next", None, after=state, wait=20)
        with publisher.app_context():
            db.session.delete(db.session.get_one(Rack, rack.id))
            db.session.commit()
        assert asked.result(timeout=15).status_code == 401


@pytest.mark.settings(web_threads=4)
def test_racks_never_take_more_than_half_of_the_threads(publisher: Flask) -> None:
    racks = [enrol(publisher, f"rack-{n}") for n in range(3)]
    with ThreadPoolExecutor() as pool:
        asked = [waiting(rack, pool) for rack in racks[:2]]
        third = racks[2].next()
        while not third["again_s"]:  # until both others wait
            pairs = zip(asked, racks, strict=False)
            # One that came while the third had a place was told to ask again.
            asked = [waiting(rack, pool) if one.done() else one for one, rack in pairs]
            third = racks[2].next(third["state"], 0.01)
        assert third["again_s"] == 2
        publish(publisher, "jammy")
        assert len({one.result(timeout=15)["index_sha256"] for one in asked}) == 1


def test_racks_that_wait_cost_no_queries_each(
    publisher: Flask, rack: RemoteRack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher.app_context():
        board = Board(db.engine, places=50)
        looks: list[int] = []
        read = board._read
        monkeypatch.setattr(board, "_read", lambda: (looks.append(1), read()))
        state = board.wait(rack.id, 0, 0, lambda: True).offer.state
        with ThreadPoolExecutor(40) as pool:
            asked = [pool.submit(board.wait, rack.id, state, 1.2, lambda: True) for _ in range(40)]
            assert all(one.result().offer.state == state for one in asked)
    assert len(looks) < 40


def test_a_wait_ends_when_the_server_stops(publisher: Flask, rack: RemoteRack) -> None:
    with publisher.app_context():
        board = Board(db.engine, places=1)
        state = board.wait(rack.id, 0, 0, lambda: True).offer.state
        assert board.wait(rack.id, state, 600, lambda: False).offer.state == state


# -- one rack after another


def test_a_rack_gets_a_state_after_the_rack_before_it_holds_it(publisher: Flask) -> None:
    first, second = enrol(publisher, "first"), enrol(publisher, "second")
    change(publisher, second, after_rack_id=first.id)
    first.follow()
    held = second.follow()
    publish(publisher, "jammy")
    withheld = second.next(held["state"], 1)
    assert (withheld["state"], withheld["serial"]) == (held["state"], held["serial"])
    assert withheld["index_sha256"] == "", "the first doesn't hold the later one yet"
    assert first.follow()["serial"] > held["serial"]
    assert second.next(held["state"], 20)["serial"] > held["serial"]


def test_changed_settings_come_with_the_state_it_has(publisher: Flask) -> None:
    first, second = enrol(publisher, "first"), enrol(publisher, "second")
    change(publisher, second, after_rack_id=first.id)
    first.follow()
    held = second.follow()
    publish(publisher, "jammy")
    change(publisher, second, is_drained=True)
    found = second.next(held["state"], 20)
    assert (found["serial"], found["index_sha256"]) == (held["serial"], "")
    assert found["settings"]["is_drained"]
    assert found["state"] != held["state"]


AWAY = {"seen_at": utcnow() - offering.AWAY - timedelta(seconds=1)}


@pytest.mark.parametrize("values", [AWAY, {"is_drained": True}], ids=["away", "drained"])
def test_a_rack_that_is_away_or_drained_holds_up_no_other(
    publisher: Flask, values: dict[str, object]
) -> None:
    first, second = enrol(publisher, "first"), enrol(publisher, "second")
    change(publisher, second, after_rack_id=first.id)
    first.follow()
    held = second.follow()
    publish(publisher, "jammy")
    change(publisher, first, **values)
    assert second.next(held["state"], 20)["serial"] > held["serial"]
