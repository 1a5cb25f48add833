# SPDX-License-Identifier: Apache-2.0
"""More images than a page shows: pages that follow each other, kept in the address."""

from __future__ import annotations

import html
import re

import pytest
from flask import Flask

from tests.api.v1.typed import ALL, Typed
from tests.support import crowd, factories
from tests.support.crowd import Crowd
from tests.web.visitors import HTMX, Visitor
from webapp.extensions import db
from webapp.models import BootSource, Role
from webapp.services.accounts import tokens
from webapp.services.images import listing, ordering
from webapp.services.sources import catalogue
from webapp.web import images

TITLE = re.compile(r'id="show:[^"]*"[^>]*>([^<]+)</a>')


@pytest.fixture(autouse=True)
def _many(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PAGE", 10)
    with app.app_context():
        crowd.add(Crowd(images=25, events=0, racks=0, runs=0))
        db.session.remove()


def titles(text: str) -> list[str]:
    return TITLE.findall(text)


def link(text: str, rel: str) -> str | None:
    found = re.search(rf'<a rel="{rel}" href="([^"]+)"', text)
    return html.unescape(found[1]) if found else None


def test_pages_follow_each_other_and_lead_back(viewer: Visitor) -> None:
    pages, path = [], "/images/"
    while path:
        pages.append(viewer.get(path).text)
        path = link(pages[-1], "next") or ""
    shown = [titles(page) for page in pages]
    assert shown == [[f"Image {n:05}" for n in part] for part in
                     (range(10), range(10, 20), range(20, 25))]  # fmt: skip
    assert link(pages[0], "prev") is None
    back = viewer.get(link(pages[2], "prev") or "").text
    assert titles(back) == shown[1]
    assert link(back, "prev") == "/images/"


def test_the_part_that_is_polled_stays_on_its_page(viewer: Visitor) -> None:
    second = link(viewer.get("/images/").text, "next") or ""
    polled = re.search(r'hx-get="(/images/stored[^"]*)"', viewer.get(second).text)
    assert polled
    part = viewer.get(html.unescape(polled[1]), **HTMX).text
    assert titles(part)[0] == "Image 00010"


def test_after_an_image_that_is_gone_the_first_page_is_shown(viewer: Visitor) -> None:
    assert titles(viewer.get("/images/?after=no%20such").text)[0] == "Image 00000"


def test_programs_get_pages_too(app: Flask) -> None:
    with app.app_context():
        _, token = tokens.create(factories.user(role=Role.VIEWER), "a program", ALL[:1])
        db.session.remove()
    program = Typed(app.test_client(), token)
    first = program.get("images?limit=20")
    rest = program.get(f"images?limit=20&cursor={first['next']}")
    found = [one["title"] for one in first["items"] + rest["items"]]
    assert found == [f"Image {n:05}" for n in range(25)]
    assert rest["next"] is None


def test_the_order_is_known_before_the_images_are_read(region: Flask, source: BootSource) -> None:
    factories.selection(source, arches=["amd64", "arm64"])
    for subarch in ("ga-24.04", "hwe-24.04"):
        factories.boot_resource(subarch=subarch, source_id=source.id)
    factories.boot_resource(release="jammy", arch="arm64", source_id=source.id)
    factories.boot_resource(
        os="grub-efi", release="uefi", subarch="generic", bootloader_type="uefi"
    )
    picture = catalogue.read()
    order, listed = ordering.read(picture), listing.listed(picture)
    assert list(order) == [(one.name, one.arch) for one in listed]
    assert list(order.values()) == [one.is_bootloader for one in listed]
    some = {*list(order)[:2], list(order)[-1]}
    assert listing.listed(picture, some) == [i for i in listed if (i.name, i.arch) in some]
