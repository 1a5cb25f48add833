# SPDX-License-Identifier: Apache-2.0
"""What the region signs for racks elsewhere: every name, and every other document."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from flask import Flask

from tests.jobs.mirror.test_offering import documents
from tests.rack import images
from webapp.extensions import db
from webapp.models import utcnow
from webapp.services.images.published import read_names
from webapp.services.mirror import options, publishing
from webapp.streams import racks
from webapp.streams.errors import DocumentProblem
from webapp.streams.racks import RACK_PATH, RackDocument
from webapp.trust.keyrings import load_keyring
from webapp.trust.signatures import verify_clearsigned


def signed() -> RackDocument:
    """The document as a rack reads it."""
    keyring = load_keyring(documents()["gpg.key"])
    payload = verify_clearsigned(documents()[RACK_PATH], keyring, what="it").payload
    return racks.parse(payload, where="it")


@pytest.mark.both_databases
def test_it_has_the_names_that_machines_may_ask_for(region: Flask) -> None:
    images.image()
    images.image(name="ubuntu/jämmy", release="jämmy", files={"root-tgz": b"x"}, version="2")
    odd = {"..data 1&2.tgz": b"y", "a%b;c#d?e.tgz": b"z"}
    images.image(odd, name="odd", os="", release="odd", subarch="", label="")
    assert publishing.reconcile()
    found = signed()
    with db.engine.connect() as connection:
        names = read_names(connection, 0, timedelta(0), utcnow())
    expected = {
        f"{folder}/{name}": (file.sha256, file.size, file.pinned_path)
        for folder, files in names.folders.items()
        for name, file in files.items()
    }
    listed = {
        f"{folder}/{name}": (file.sha256, file.size, file.path)
        for one in found.sets
        for folder in (*one.current, *one.pinned)
        for name, file in one.files.items()
    }
    assert listed == expected
    assert {one.image for one in found.sets} >= {"ubuntu/noble/amd64"}


def test_it_names_every_other_document_by_its_digest(region: Flask) -> None:
    images.image()
    publishing.reconcile()
    others = {path: content for path, content in documents().items() if path != RACK_PATH}
    assert "gpg.key" in others
    assert signed().documents == {
        path: hashlib.sha256(content).hexdigest() for path, content in others.items()
    }


def test_what_the_mirror_keeps_back_racks_have(region: Flask) -> None:
    images.image()
    images.image(name="ubuntu/jammy", release="jammy")
    options.change("ada", images=["ubuntu/noble"])
    assert publishing.reconcile()
    assert {one.image for one in signed().sets} == {"ubuntu/noble/amd64", "ubuntu/jammy/amd64"}


def test_a_new_version_is_signed_for_racks(region: Flask) -> None:
    resource = images.image()
    publishing.reconcile()
    before = signed()
    images.switch(resource, {"squashfs": b"new"}, version="20260202")
    assert publishing.reconcile()
    after = signed()
    assert after.updated > before.updated
    assert [one.version for one in after.sets if one.current] == ["20260202"]


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"{}",
        b'{"format": "slipway-rack:1", "updated": "now", "documents": {}, "sets": []}',
        b'{"format": "slipway-rack:1", "updated": "2026-01-01", "documents": {"../x": "0"},'
        b' "sets": []}',
        b'{"format": "slipway-rack:1", "updated": "2026-01-01", "documents": {}, "sets": [3]}',
    ],
)
def test_another_document_is_refused(text: bytes) -> None:
    with pytest.raises(DocumentProblem):
        racks.parse(text, where="it")
