# SPDX-License-Identifier: Apache-2.0
"""A mirror that's off for everyone is there for enrolled racks alone."""

from __future__ import annotations

import hashlib

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.racks.remote import RemoteRack, enrol
from tests.rack import images
from webapp.extensions import db
from webapp.models import PublishedDocument
from webapp.services.mirror import options, publishing, tree
from webapp.services.racks import changing

INDEX = "/mirror/streams/v1/index.sjson"
ITEM = f"/mirror/sha256/{hashlib.sha256(images.FILES['squashfs']).hexdigest()}/squashfs"


@pytest.fixture(autouse=True)
def _each_request_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "CHECK_S", -1.0)


def turn(app: Flask, *, is_on: bool) -> None:
    with app.app_context():
        options.change("ada", is_on=is_on)
        publishing.reconcile()
        db.session.remove()


def status(app: Flask, path: str, authorization: str = "") -> int:
    headers = {"Authorization": authorization} if authorization else {}
    return app.test_client().get(path, headers=headers).status_code


def test_only_enrolled_racks_read_it(publisher: Flask, rack: RemoteRack) -> None:
    turn(publisher, is_on=False)
    mine = f"Bearer {rack.credential}"
    for path in (INDEX, ITEM, "/mirror/gpg.key", f"{ITEM}.sha256"):
        assert status(publisher, path, mine) == 200
        for other in ("", "Bearer", "Bearer slr_x", f"Basic {rack.credential}", "Bearer \u00e4"):
            assert status(publisher, path, other) == 404
    with publisher.app_context():
        images.image(release="jammy", product="p:v3:jammy")
        db.session.remove()
    before = rack.next()
    turn(publisher, is_on=False)
    assert rack.next(before["state"], 20)["serial"] > before["serial"], "it's signed all the same"
    turn(publisher, is_on=True)
    assert status(publisher, INDEX) == 200


def test_nothing_is_left_when_the_last_rack_is_removed(publisher: Flask, rack: RemoteRack) -> None:
    second = enrol(publisher, "rack-2")
    turn(publisher, is_on=False)
    for one, left in ((rack, True), (second, False)):
        with publisher.app_context():
            changing.remove(one.id, "ada")
            publishing.reconcile()
            assert (db.session.scalar(select(PublishedDocument.path)) is not None) == left
            db.session.remove()
        assert status(publisher, INDEX, f"Bearer {one.credential}") == 404


def test_a_rack_that_is_enrolled_while_it_is_off_gets_it(publisher: Flask) -> None:
    turn(publisher, is_on=False)
    rack = enrol(publisher)
    turn(publisher, is_on=False)
    assert status(publisher, INDEX, f"Bearer {rack.credential}") == 200
    assert rack.next()["index_sha256"]
