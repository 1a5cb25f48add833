# SPDX-License-Identifier: Apache-2.0
"""Which images are offered, and under which names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from tests.rack import images
from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import Blob, BlobFault, BlobState, BootResource, PublishedDocument, ResourceType
from webapp.services.blobs.damage import Verified, mark_bad
from webapp.services.mirror import options, publishing
from webapp.streams.documents import parse_index, parse_products
from webapp.streams.mapping import map_products

pytestmark = pytest.mark.both_databases


def documents() -> dict[str, bytes]:
    db.session.expire_all()
    rows = db.session.query(PublishedDocument).filter(PublishedDocument.replaced_at.is_(None))
    return {row.path: row.content for row in rows}


def products() -> dict[str, Any]:
    """The products of the newest document."""
    [name] = [path for path in documents() if "images-" in path and path.endswith(".json")]
    return dict(json.loads(documents()[name])["products"])


def test_a_region_without_images_publishes_an_empty_list(region: Flask) -> None:
    assert publishing.reconcile()
    index = parse_index(documents()["streams/v1/index.json"], where="index")
    [entry] = index.entries
    assert entry.products == ()
    assert products() == {}


def test_an_upload_has_a_name_of_its_own_that_readers_take(region: Flask) -> None:
    tgz = {"root-tgz": b"tarball"}
    images.image(tgz, name="golden", os="", release="golden", subarch="generic",
                 architecture="amd64/generic", rtype=ResourceType.UPLOADED, label="uploaded",
                 title="Golden", base_image="ubuntu/noble")  # fmt: skip
    images.image(name="ubuntu/lab", release="lab", rtype=ResourceType.UPLOADED, label="uploaded")
    publishing.reconcile()
    assert list(products()) == [
        "com.ubuntu.maas:custom:v3:boot:custom:golden:amd64:generic",
        "com.ubuntu.maas:custom:v3:boot:ubuntu:lab:amd64:ga-24.04",
    ]
    path = next(p for p in documents() if "images-" in p and p.endswith(".json"))
    mapped = map_products([parse_products(documents()[path], where=path)])
    assert mapped.skipped == ()
    named = [(offer.os, offer.release, offer.title, offer.label) for offer in mapped.offers]
    assert named == [
        ("custom", "golden", "Golden", "uploaded"),
        ("ubuntu", "lab", "Ubuntu lab", "uploaded"),
    ]


def test_uploads_can_be_left_out(region: Flask) -> None:
    images.image(name="golden", os="", release="golden", rtype=ResourceType.UPLOADED)
    images.image(product="p:v3:noble")
    publishing.reconcile()
    assert len(products()) == 2
    options.change("ada", has_uploads=False)
    assert publishing.reconcile()
    assert list(products()) == ["p:v3:noble"]


def test_chosen_images_come_with_the_boot_loaders(region: Flask) -> None:
    images.image(product="p:v3:noble")
    images.image(name="ubuntu/jammy", release="jammy", product="p:v3:jammy")
    images.image({"a.tar.xz": b"x"}, name="pxelinux/pxe", os="pxelinux", release="pxe", arch="i386",
                 architecture="i386/generic", subarch="generic", bootloader_type="pxe",
                 product="p:1:pxelinux:pxe:i386")  # fmt: skip
    options.change("ada", images=("ubuntu/jammy",))
    publishing.reconcile()
    assert list(products()) == ["p:1:pxelinux:pxe:i386", "p:v3:jammy"]


def test_an_unknown_image_is_refused_and_changes_nothing(region: Flask) -> None:
    with pytest.raises(InvalidFields, match="ubuntu/nobel"):
        options.change("ada", images=("ubuntu/nobel",))
    assert options.read() == options.Options()


def test_an_image_with_a_damaged_file_isnt_listed(region: Flask) -> None:
    images.image(product="p:v3:noble")
    images.image({"squashfs": b"other"}, name="ubuntu/jammy", release="jammy", product="p:v3:jammy")
    publishing.reconcile()
    assert list(products()) == ["p:v3:jammy", "p:v3:noble"]
    blob = db.session.query(Blob).join(Blob.files).filter_by(filename="boot-kernel").one()
    verified = Verified(blob.sha256, blob.size, blob.mtime_ns, blob.verified_at)
    with db.engine.begin() as connection:
        assert mark_bad(connection, verified, BlobFault.CONTENT, "test")
    assert publishing.reconcile()
    assert list(products()) == ["p:v3:jammy"]
    db.session.execute(update(Blob).values(state=BlobState.READY))
    images.publish()
    assert publishing.reconcile()
    assert list(products()) == ["p:v3:jammy", "p:v3:noble"]


def test_a_set_that_isnt_complete_isnt_listed(region: Flask) -> None:
    resource = images.image(product="p:v3:noble")
    db.session.execute(update(BootResource).values(current_set_id=None))
    images.publish()
    publishing.reconcile()
    assert products() == {}
    assert resource.id
