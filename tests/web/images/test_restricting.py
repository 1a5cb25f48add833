# SPDX-License-Identifier: Apache-2.0
"""Who gets an image, on its page."""

from __future__ import annotations

import html

import pytest
from flask import Flask
from sqlalchemy import select

from tests.rack import images
from tests.support import factories
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import Event, ImageRestriction
from webapp.services.boot import table

MAC, OTHER = "52:54:00:12:34:56", "52:54:00:00:00:01"
IMAGE = "/images/ubuntu/noble/amd64"
PAGE = f"{IMAGE}/restriction"
SENT = {"networks": "192.0.2.0/24\r\n2001:db8::/32", "macs": MAC, "note": "3 hosts", "seen": "0"}


@pytest.fixture(autouse=True)
def noble(region: Flask) -> None:
    images.image()
    folder = "ubuntu/amd64/ga-24.04/noble/stable"
    factories.saved(Event(kind="image.fetched", actor="198.51.100.7", subject=folder, detail={}))
    table.set_entry("ada", OTHER, "ubuntu/noble", arch="amd64")


def text(visitor: Visitor, path: str) -> str:
    return " ".join(html.unescape(visitor.get(path).text).split())


def row() -> ImageRestriction | None:
    db.session.rollback()
    return db.session.scalar(select(ImageRestriction))


def test_it_is_asked_before_machines_lose_an_image(administrator: Visitor) -> None:
    assert "All machines" in text(administrator, IMAGE)
    asked = administrator.post(PAGE, SENT)
    shown = " ".join(html.unescape(asked.text).split())
    assert asked.status_code == 200
    assert "outside of these networks fetched it in the last 30 days: 198.51.100.7." in shown
    assert f"aren't permitted: {OTHER}." in shown
    assert row() is None
    done = administrator.post(PAGE, {**SENT, "confirmed": "yes"})
    assert (done.status_code, done.headers["Location"]) == (303, IMAGE)
    kept = row()
    assert kept is not None
    assert (kept.networks, kept.macs, kept.note) == (
        ["192.0.2.0/24", "2001:db8::/32"], [MAC], "3 hosts"
    )  # fmt: skip
    page = text(administrator, IMAGE)
    assert f"192.0.2.0/24, 2001:db8::/32, {MAC} <small>3 hosts</small>" in page
    assert "192.0.2.0/24 2001:db8::/32</textarea>" in text(administrator, PAGE)


def test_what_takes_nothing_from_anyone_is_saved_at_once(administrator: Visitor) -> None:
    administrator.post(PAGE, {**SENT, "confirmed": "yes"})
    kept = row()
    assert kept is not None
    wider = {**SENT, "macs": f"{MAC}, {OTHER}", "seen": str(kept.revision)}
    assert administrator.post(PAGE, wider).status_code == 303
    again = administrator.post(PAGE, wider)
    assert again.status_code == 412, "the form is older than what's saved"
    assert "Someone else changed" in html.unescape(again.text)


def test_it_is_given_back_to_everyone(administrator: Visitor) -> None:
    administrator.post(PAGE, {**SENT, "confirmed": "yes"})
    kept = row()
    assert kept is not None
    assert administrator.post(f"{PAGE}/lift", {"seen": "0"}).status_code == 412
    done = administrator.post(f"{PAGE}/lift", {"seen": str(kept.revision)})
    assert done.status_code == 303
    assert row() is None
    assert administrator.post(f"{PAGE}/lift", {"seen": "0"}).status_code == 404


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"networks": "192.0.2.1/24"}, "Enter 192.0.2.0/24, or 192.0.2.1."),
        ({"networks": "<b>"}, "'<b>' isn't a network"),
        ({"macs": "ff:ff:ff:ff:ff:ff"}, "isn't the address of one machine"),
        ({"networks": "", "macs": " "}, "Enter a network or a MAC address."),
        ({"note": "x" * 201, "confirmed": "yes"}, "a single line of up to 200 characters"),
    ],
)
def test_a_slip_is_shown_beside_what_was_typed(
    change: dict[str, str], words: str, administrator: Visitor
) -> None:
    answer = administrator.post(PAGE, {**SENT, **change})
    assert answer.status_code == 422
    assert words in html.unescape(answer.text)
    assert "<b>" not in answer.text
    assert row() is None


def test_others_see_who_gets_it_and_change_nothing(
    administrator: Visitor, operator: Visitor, viewer: Visitor
) -> None:
    administrator.post(PAGE, {**SENT, "confirmed": "yes"})
    for visitor in (operator, viewer):
        page = text(visitor, IMAGE)
        assert "192.0.2.0/24" in page
        assert "Change who gets it" not in page
        assert visitor.get(PAGE).status_code == 403
