# SPDX-License-Identifier: Apache-2.0
"""The local mirror over HTTP: documents, items, checksums, conditions, and nothing else."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from tests.rack import images
from tests.rack.conftest import BASE
from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import Event, PublishedDocument, PublishedStream
from webapp.services.mirror import options, publishing, tree

INDEX = "/mirror/streams/v1/index.sjson"
KERNEL = images.FILES["boot-kernel"]
SHA256 = hashlib.sha256(KERNEL).hexdigest()
ITEM = f"/mirror/sha256/{SHA256}/boot-kernel"


@pytest.fixture(params=["rack", "web"])
def reader(
    request: pytest.FixtureRequest,
    make_app: Callable[[str], Flask],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FlaskClient]:
    """A reader of a region's mirror, through either plane, that checks at each request."""
    monkeypatch.setattr(tree, "CHECK_S", -1.0)
    app = make_app(request.param)
    with app.app_context():
        images.image(product="p:v3:noble")
        assert publishing.reconcile()
        yield app.test_client()
    app.extensions["slipway.rack"].close()


def repr_digest(content: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


def test_a_document_has_validators_and_a_digest(reader: FlaskClient) -> None:
    answer = reader.get(INDEX)
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["Repr-Digest"] == repr_digest(answer.data)
    assert answer.headers["Cache-Control"] == "no-cache"
    again = reader.get(INDEX, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    head = reader.head(INDEX)
    assert (head.data, head.headers["Content-Length"]) == (b"", str(len(answer.data)))
    part = reader.get(INDEX, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.data) == (206, answer.data[5:10])
    assert part.headers["Repr-Digest"] == answer.headers["Repr-Digest"]
    assert reader.get(INDEX, headers={"Range": "bytes=999999-"}).status_code == 416
    assert reader.get("/mirror/gpg.key").content_type == "application/pgp-keys"
    [path] = re.findall(r'"path": "(.*)"', reader.get("/mirror/streams/v1/index.json").text)
    assert "immutable" in reader.get(f"/mirror/{path}").headers["Cache-Control"]


def test_an_item_is_served_like_an_image(reader: FlaskClient) -> None:
    answer = reader.get(ITEM, buffered=True)
    assert answer.data == KERNEL
    assert answer.headers["ETag"] == f'"{SHA256}"'
    assert answer.headers["Repr-Digest"] == repr_digest(KERNEL)
    assert "immutable" in answer.headers["Cache-Control"]
    part = reader.get(ITEM, headers={"Range": "bytes=1-3"}, buffered=True)
    assert (part.status_code, part.data) == (206, KERNEL[1:4])


def test_an_item_of_a_replaced_version_stays_for_the_grace(reader: FlaskClient) -> None:
    resource = images.image(name="ubuntu/jammy", release="jammy", files={"squashfs": b"old"})
    name = f"/mirror/sha256/{hashlib.sha256(b'old').hexdigest()}/squashfs"
    assert reader.get(name, buffered=True).data == b"old"
    images.switch(resource, {"squashfs": b"new"}, version="20260202")
    assert publishing.reconcile()
    assert reader.get(name, buffered=True).data == b"old"


def test_products_that_another_process_listed_are_there_at_once(
    reader: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.get(INDEX)
    monkeypatch.setattr(tree, "CHECK_S", 3600.0)
    images.image(name="ubuntu/jammy", release="jammy", product="p:v3:jammy")
    assert publishing.reconcile()
    query = select(PublishedDocument.path).where(
        PublishedDocument.path.contains("images-"), PublishedDocument.replaced_at.is_(None)
    )
    paths = db.session.scalars(query).all()
    assert paths
    for path in paths:
        assert reader.get(f"/mirror/{path}").status_code == 200, path
    assert reader.get(f"/mirror/{paths[0]}x").status_code == 404


def test_checksum_files_are_what_sha256sum_checks(reader: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "boot-kernel").write_bytes(KERNEL)
    (tmp_path / "sums").write_bytes(reader.get(f"{ITEM}.sha256").data)
    program = shutil.which("sha256sum")
    assert program
    done = subprocess.run(
        [program, "--check", "sums"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.stdout == b"boot-kernel: OK\n"
    assert reader.get(f"{ITEM}.sha256.sha256").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/mirror/",
        "/mirror/streams/v1/",
        "/mirror/streams/v1/nothing.sjson",
        "/mirror/../etc/passwd",
        "/mirror/%2e%2e/slipway.db",
        "/mirror/signing/key.asc",
        f"/mirror/sha256/{SHA256}/squashfs",
        f"/mirror/sha256/{'0' * 64}/boot-kernel",
        f"/mirror/sha256/{SHA256}",
        f"/mirror{BASE.removeprefix('/images')}/boot-kernel",
    ],
)
def test_nothing_else_is_there(reader: FlaskClient, path: str) -> None:
    assert reader.get(path).status_code == 404


def test_only_get_and_head(reader: FlaskClient) -> None:
    answer = reader.post(INDEX)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_turned_off_nothing_is_served(reader: FlaskClient) -> None:
    assert reader.get(INDEX).status_code == 200
    options.change("ada", is_on=False)
    for path in (INDEX, ITEM, "/mirror/gpg.key", f"{ITEM}.sha256"):
        assert reader.get(path).status_code == 404
    options.change("ada", is_on=True)
    assert publishing.reconcile()
    assert reader.get(INDEX).status_code == 200


def test_who_read_what_is_one_event_for_each_state_of_the_stream(reader: FlaskClient) -> None:
    for path in (INDEX, INDEX, ITEM):
        assert reader.get(path, buffered=True).status_code == 200
    recorder = reader.application.extensions["slipway.rack"].recorder
    recorder.flush()
    [event] = db.session.scalars(select(Event).where(Event.kind == "mirror.read"))
    revision = db.session.get_one(PublishedStream, 1).revision
    assert (event.actor, event.subject) == ("127.0.0.1", "mirror")
    assert event.detail["version"] == str(revision)
    assert event.detail["files"] == ["index.sjson", "boot-kernel"]
    assert event.detail["requests"] == 3


def test_while_the_database_is_away_the_last_stream_is_served(
    reader: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = reader.get(INDEX).data
    db.session.execute(update(PublishedStream).values(revision=99))
    db.session.commit()
    db.session.execute(text("DROP TABLE published_document"))
    db.session.commit()
    assert reader.get(INDEX).data == before


def test_images_have_checksum_files_too(rack: Flask) -> None:
    images.image()
    answer = rack.test_client().get(f"{BASE}/boot-kernel.sha256")
    assert answer.text == f"{SHA256}  boot-kernel\n"
    assert answer.headers["Cache-Control"] == "no-cache"
    pinned = rack.test_client().get(f"{BASE}/20260105/boot-kernel.sha256")
    assert pinned.text == answer.text
    assert "immutable" in pinned.headers["Cache-Control"]


def test_a_file_of_that_name_comes_first(rack: Flask) -> None:
    images.image({"squashfs": b"root", "squashfs.sha256": b"its own"})
    assert rack.test_client().get(f"{BASE}/squashfs.sha256").data == b"its own"


def test_another_prefix_is_served_and_the_old_one_is_not(reader: FlaskClient) -> None:
    assert options.prefix() == "mirror/"
    options.change("ada", prefix=" /maas/images ")
    assert options.prefix() == "maas/images/"
    for path in (INDEX, ITEM, f"{ITEM}.sha256", "/mirror/gpg.key"):
        assert reader.get(path).status_code == 404
        moved = path.replace("/mirror/", "/maas/images/")
        assert reader.get(moved, buffered=True).status_code == 200
    assert reader.get("/maas/streams/v1/index.sjson").status_code == 404
    options.change("ada", prefix="mirror")
    assert reader.get(INDEX).status_code == 200


@pytest.mark.parametrize(
    "prefix",
    ["", "/", "..", "a/../b", "a//b", "a b", "ä", "%2e", ".hidden", "images", "MAAS/x", "api",
     "local-mirror", "streams/v1", "a/streams", "a/b/c/d/e", "x" * 64, "a\0", "a?b", "-x"],
)  # fmt: skip
def test_prefixes_that_cant_be_served_are_refused(region: Flask, prefix: str) -> None:
    with pytest.raises(InvalidFields):
        options.change("ada", prefix=prefix)
    assert options.prefix() == "mirror/"


def test_no_page_is_hidden_by_a_prefix(app: Flask) -> None:
    known = {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}
    assert known - {""} <= options.RESERVED
