# SPDX-License-Identifier: Apache-2.0
"""The page Racks: the list, one rack with its settings, adding and removing one."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.api.racks.remote import RemoteRack, ask, enrol
from tests.rack import images
from tests.web.visitors import HTMX, Visitor, text_of
from webapp.models import Role, utcnow
from webapp.services.mirror import publishing
from webapp.services.racks import changing

PAGE = "/racks/"


@pytest.fixture(autouse=True)
def published(region: Flask) -> None:
    images.image(product="p:v3:noble")
    assert publishing.reconcile()


@pytest.fixture
def rack(app: Flask) -> RemoteRack:
    """A rack that serves a machine and had an error."""
    found = enrol(app)
    offered = found.next()
    found.report(
        held_state=offered["state"],
        held_serial=offered["serial"],
        bytes=12_000_000,
        files=3,
        hits=3,
        misses=1,
        speed=5_000_000,
        errors=[{"at": utcnow().isoformat(), "what": "<b>The disk</b> is slow."}],
        serving=[{"machine": "10.0.0.9", "name": "noble/squashfs", "sent": 10, "size": 20}],
    )
    return found


def test_without_racks_the_page_says_how_to_add_one(
    administrator: Visitor, viewer: Visitor
) -> None:
    assert "No racks on other machines" in text_of(viewer.get(PAGE))
    assert "Show command" not in viewer.get(PAGE).text
    assert "Show command" in administrator.get(PAGE).text


def test_a_line_is_shown_once_and_adds_a_rack(app: Flask, administrator: Visitor) -> None:
    assert administrator.post(f"{PAGE}tokens", {"uses": "2", "hours": "3"}).status_code == 303
    page = text_of(administrator.get(PAGE))
    line = re.search(r"SLIPWAY_REGION_URL=(\S+) SLIPWAY_RACK_TOKEN=(\S+) slipway run", page)
    assert line
    assert line[1] == "http://localhost/"
    assert line[2] not in administrator.get(PAGE).text
    assert ask(app, line[2]).status_code == 201
    assert "1 of 2" in text_of(administrator.get(PAGE))
    assert administrator.post(f"{PAGE}tokens/1/revoke").status_code == 303
    assert ask(app, line[2], "rack-2").status_code == 403
    refused = administrator.post(f"{PAGE}tokens", {"uses": "x", "hours": "9999"})
    assert refused.status_code == 422
    assert "Enter 1 to 100 racks." in text_of(refused)
    assert "Enter 1 to 720 hours." in text_of(refused)


def test_everyone_sees_how_racks_are_doing(rack: RemoteRack, viewer: Visitor) -> None:
    page = text_of(viewer.get(PAGE))
    for words in ("rack-1", "Up to date", "1 error", "12.0 MB", "75 %", "5.0 MB/s", "1 machine"):
        assert words in page
    part = viewer.get(PAGE, **HTMX).text
    assert part.lstrip().startswith("<div") or '<div id="racks" data-poll' in part
    assert "<main" not in part
    one = viewer.get(f"{PAGE}{rack.id}/")
    assert "<b>The disk</b> is slow." in text_of(one)
    assert "<b>" not in one.text
    for words in ("10.0.0.9", "10 bytes of 20 bytes", "75.0 % of 4 requests", "0.1.0"):
        assert words in text_of(one)
    assert "Save settings" not in one.text
    assert 'id="rack"' in viewer.get(f"{PAGE}{rack.id}/", **HTMX).text
    assert viewer.get(f"{PAGE}99/").status_code == 404


def test_an_administrator_changes_verifies_and_drains(
    app: Flask, rack: RemoteRack, administrator: Visitor
) -> None:
    second, here = enrol(app, "rack-2"), f"{PAGE}{rack.id}/"
    form = {
        "mode": "chosen",
        "image": "ubuntu/noble/amd64",
        "max_bytes": "200",
        "rate": "50",
        "upstreams": "http://10.0.0.6:5248/mirror/\nhttp://10.0.0.7:5248/mirror/",
        "after_rack_id": str(second.id),
    }
    assert administrator.post(here, form).status_code == 303
    state = rack.next(0)
    chosen = state["settings"]
    assert (chosen["mode"], chosen["images"]) == ("chosen", ["ubuntu/noble/amd64"])
    assert (chosen["max_bytes"], chosen["rate"]) == (200 * 10**9, 50 * 10**6)
    assert (len(chosen["upstreams"]), chosen["after_rack"]) == (2, second.id)
    page = administrator.get(here).text
    assert 'value="200"' in page
    assert "http://10.0.0.7:5248/mirror/" in page
    assert administrator.post(f"{here}verify").status_code == 303
    assert administrator.post(f"{here}drain", {"on": "yes"}).status_code == 303
    settings = rack.next(0)["settings"]
    assert (settings["verify"], settings["is_drained"]) == (1, True)
    assert "Return to service" in administrator.get(here).text
    administrator.post(f"{here}drain", {"on": "no"})
    assert administrator.post(here, {"mode": "everything"}).status_code == 303
    settings = rack.next(0)["settings"]
    assert (settings["max_bytes"], settings["upstreams"], settings["images"]) == (None, [], [])


@pytest.mark.parametrize(("size", "rate"), [(1_500_000_000, 500_000), (2**53, 1), (10**12, 10**8)])
def test_saving_the_page_keeps_limits_to_the_byte(
    app: Flask, rack: RemoteRack, administrator: Visitor, size: int, rate: int
) -> None:
    with app.app_context():
        changing.change(rack.id, "ada", max_bytes=size, rate=rate)
    shown = administrator.get(f"{PAGE}{rack.id}/")
    form = {name: _value(shown.text, name) for name in ("max_bytes", "rate")}
    form["mode"] = "everything"
    assert administrator.post(f"{PAGE}{rack.id}/", form).status_code == 303
    settings = rack.next(0)["settings"]
    assert (settings["max_bytes"], settings["rate"]) == (size, rate)


def test_what_cannot_be_is_said_at_its_field(rack: RemoteRack, administrator: Visitor) -> None:
    here = f"{PAGE}{rack.id}/"
    for form, words in (
        ({"mode": "everything", "max_bytes": "much"}, "Enter a number."),
        ({"mode": "everything", "rate": "0.0000001"}, "Enter a number."),
        ({"mode": "everything", "upstreams": "ftp://x/"}, "Enter an http:// or https:// URL."),
        ({"mode": "chosen"}, "Choose at least one image"),
        ({"mode": "other"}, "Choose one of"),
        ({"mode": "everything", "after_rack_id": str(rack.id)}, "comes after this one"),
        ({"mode": "everything", "image": "a/b/c"}, "No such image is stored"),
    ):
        answer = administrator.post(here, form)
        assert answer.status_code == 422
        assert words in text_of(answer)


def test_removing_asks_first(rack: RemoteRack, administrator: Visitor) -> None:
    here = f"{PAGE}{rack.id}/"
    asked = text_of(administrator.get(f"{here}remove"))
    assert "keeps serving the 12.0 MB" in asked
    assert administrator.post(f"{here}remove").status_code == 303
    assert administrator.get(here).status_code == 404
    assert rack.call("GET", "next").status_code == 401


def test_others_change_nothing(app: Flask, rack: RemoteRack) -> None:
    operator = Visitor(app, Role.OPERATOR)
    for path in ("", "verify", "drain", "remove"):
        assert operator.post(f"{PAGE}{rack.id}/{path}").status_code == 403
    assert operator.post(f"{PAGE}tokens").status_code == 403
    assert operator.get(f"{PAGE}{rack.id}/remove").status_code == 403


def test_nothing_is_said_of_a_rack_that_was_never_seen(app: Flask, viewer: Visitor) -> None:
    page = text_of(viewer.get(f"{PAGE}{enrol(app, 'rack-9').id}/"))
    assert "Last seen never Holds nothing yet" in page
    assert "Serves Unknown while the rack isn't seen." in page


def _value(page: str, name: str) -> str:
    """What a field of the page holds."""
    field = re.search(rf'<input[^>]*name="{name}"[^>]*>', page)
    assert field
    value = re.search(r'value="([^"]*)"', field[0])
    return value[1] if value else ""
