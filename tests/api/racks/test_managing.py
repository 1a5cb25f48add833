# SPDX-License-Identifier: Apache-2.0
"""Racks for people's programs: list, settings, verify, drain, remove, and enrolment tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.api.racks.remote import RemoteRack, ask, enrol
from tests.api.v1.typed import Typed
from webapp.extensions import db
from webapp.models import Event, PublishedDocument, Rack, Role, utcnow
from webapp.services.racks import listing


def state_of(program: Typed, rack: RemoteRack) -> tuple[str, str]:
    found = program.get(f"racks/{rack.id}")
    return found["state"], found["text"]


def set_row(app: Flask, rack: RemoteRack, **values: Any) -> None:
    with app.app_context():
        db.session.execute(update(Rack).where(Rack.id == rack.id).values(**values))
        db.session.commit()


def test_a_rack_is_shown_with_what_it_holds_against_what_is_published(
    publisher: Flask, program: Typed
) -> None:
    assert program.get("racks") == {"items": [], "next": None}
    rack = enrol(publisher)
    assert state_of(program, rack) == ("never-seen", "Never seen")
    offered = rack.next()
    assert state_of(program, rack) == ("syncing", "Syncing")
    rack.report(
        held_state=offered["state"],
        held_serial=offered["serial"],
        bytes=5,
        wanted_bytes=9,
        hits=3,
        misses=1,
        errors=[{"at": utcnow().isoformat(), "what": "A disk is slow."}],
        serving=[{"machine": "10.0.0.9", "name": "squashfs", "sent": 1, "size": 2}],
    )
    assert state_of(program, rack) == ("syncing", "Syncing")
    rack.report(held_state=offered["state"], held_serial=offered["serial"], hits=3, misses=1)
    [found] = program.get("racks")["items"]
    assert (found["state"], found["severity"], found["text"]) == ("current", "ok", "Up to date")
    assert (found["held_serial"], found["hit_rate"]) == (found["published_serial"], 0.75)
    assert (found["errors"], found["serving"]) == ([], [])
    assert "credential" not in str(found)


def test_a_rack_that_is_late_or_holds_an_old_state_is_shown_so(
    publisher: Flask, rack: RemoteRack, program: Typed
) -> None:
    rack.next()
    with publisher.app_context():
        old = utcnow() - listing.OLD - timedelta(seconds=1)
        db.session.execute(update(PublishedDocument).values(published_at=old))
        db.session.commit()
    set_row(publisher, rack, enrolled_at=old)
    assert state_of(program, rack) == ("behind", "Out of date")
    set_row(publisher, rack, seen_at=utcnow() - listing.LATE - timedelta(seconds=1))
    assert state_of(program, rack) == ("away", "Not seen")


def test_settings_are_changed_and_the_rack_is_told(
    publisher: Flask, rack: RemoteRack, program: Typed
) -> None:
    before = rack.next()
    body = {
        "mode": "chosen",
        "images": ["ubuntu/noble/amd64"],
        "max_bytes": 10**12,
        "rate": 10**7,
        "upstreams": ["http://10.0.0.6:5248/mirror"],
        "is_drained": True,
    }
    changed = program.call("PATCH", f"racks/{rack.id}", body)
    assert changed.status_code == 200
    assert changed.json["upstreams"] == ["http://10.0.0.6:5248/mirror/"]
    after = rack.next(before["state"], 20)
    assert after["state"] != before["state"]
    expected = {**body, "upstreams": ["http://10.0.0.6:5248/mirror/"]}
    assert {name: after["settings"][name] for name in body} == expected
    program.call("PATCH", f"racks/{rack.id}", {"max_bytes": 0, "upstreams": []})
    again = rack.next(after["state"], 20)
    assert (again["settings"]["max_bytes"], again["settings"]["upstreams"]) == (None, [])
    assert program.call("PATCH", f"racks/{rack.id}", {"upstreams": []}).status_code == 200
    assert rack.next(again["state"]) == again, "nothing was changed"
    with publisher.app_context():
        rows = db.session.scalars(select(Event).where(Event.kind == "rack.changed")).all()
        assert [sorted(row.detail) for row in rows] == [sorted(body), ["max_bytes", "upstreams"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mode": "some"}, "mode"),
        ({"mode": "chosen"}, "images"),
        ({"images": ["ubuntu/nobel/amd64"]}, "images"),
        ({"images": ["\u202e"]}, "images"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"rate": 2**54}, "rate"),
        ({"upstreams": ["ftp://x/"]}, "upstreams"),
        ({"upstreams": ["http://a:b@x/"]}, "upstreams"),
        ({"after_rack_id": 99}, "after_rack_id"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(
    rack: RemoteRack, program: Typed, body: dict[str, Any], field: str
) -> None:
    answer = program.call("PATCH", f"racks/{rack.id}", body)
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])


def test_racks_do_not_wait_for_each_other_in_a_circle(publisher: Flask, program: Typed) -> None:
    racks = [enrol(publisher, f"rack-{n}") for n in range(3)]
    for rack, before in zip(racks[1:], racks, strict=False):
        body = {"after_rack_id": before.id}
        assert program.call("PATCH", f"racks/{rack.id}", body).json["after_rack"]
    for rack in racks:
        answer = program.call("PATCH", f"racks/{racks[0].id}", {"after_rack_id": rack.id})
        assert list(answer.json["errors"]) == ["after_rack_id"]
    assert program.call("PATCH", f"racks/{racks[1].id}", {"after_rack_id": 0}).status_code == 200


def test_verifying_is_asked_for(rack: RemoteRack, program: Typed) -> None:
    before = rack.next()
    assert program.call("POST", f"racks/{rack.id}/verification").status_code == 202
    after = rack.next(before["state"], 20)
    assert after["settings"]["verify"] == before["settings"]["verify"] + 1


def test_a_removed_rack_is_gone(publisher: Flask, rack: RemoteRack, program: Typed) -> None:
    second = enrol(publisher, "rack-2")
    program.call("PATCH", f"racks/{second.id}", {"after_rack_id": rack.id})
    assert program.call("DELETE", f"racks/{rack.id}").status_code == 204
    assert rack.call("GET", "next").status_code == 401
    assert rack.call("POST", "report", {}).status_code == 401
    [found] = program.get("racks")["items"]
    assert (found["name"], found["after_rack_id"]) == ("rack-2", None)
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/verification")):
        body = {} if method == "PATCH" else None
        assert program.call(method, f"racks/{rack.id}{path}", body).status_code == 404


def test_tokens_are_created_listed_and_revoked(publisher: Flask, program: Typed) -> None:
    made = program.call("POST", "racks/tokens", {"uses": 2, "hours": 1})
    assert made.status_code == 201
    token = made.json["token"]
    assert made.json["command"] == (
        f"SLIPWAY_REGION_URL=http://localhost/ SLIPWAY_RACK_TOKEN={token} slipway run --role rack"
    )
    assert ask(publisher, token).status_code == 201
    [listed] = program.get("racks/tokens")["items"]
    assert (listed["uses"], listed["uses_left"]) == (2, 1)
    assert token.partition(".")[0] not in str(listed)
    assert program.call("DELETE", f"racks/tokens/{listed['id']}").status_code == 204
    assert program.call("DELETE", f"racks/tokens/{listed['id']}").status_code == 404
    assert ask(publisher, token, "rack-2").status_code == 403
    assert len(program.get("racks")["items"]) == 1, "racks outlive their token"
    for wrong in ({"uses": 0}, {"hours": 721}):
        assert program.call("POST", "racks/tokens", wrong).status_code == 422


def test_there_is_no_token_before_there_is_a_key_to_pin(program: Typed) -> None:
    answer = program.call("POST", "racks/tokens", {})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_others_see_racks_and_change_nothing(
    rack: RemoteRack, token_of: Callable[..., Typed]
) -> None:
    for role in (Role.VIEWER, Role.OPERATOR):
        other = token_of(role)
        assert other.get(f"racks/{rack.id}")["name"] == "rack-1"
        assert other.call("PATCH", f"racks/{rack.id}", {"is_drained": True}).status_code == 403
        assert other.call("POST", "racks/tokens", {}).status_code == 403
        assert other.call("DELETE", f"racks/{rack.id}").status_code == 403
