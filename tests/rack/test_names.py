# SPDX-License-Identifier: Apache-2.0
"""Which names are published, for whom, and until when."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import delete, insert, update

from tests.rack import images
from tests.support.databases import Queries
from webapp.extensions import db
from webapp.models import Blob, BootResource, ResourceFile, ResourceSet, utcnow
from webapp.services.images.published import Located, image_path, read_names
from webapp.services.images.serving import PublishedMap

pytestmark = pytest.mark.both_databases

GRACE_S = 1800
NOBLE = "ubuntu/amd64/{}/noble/stable/{}"


def published_map(grace_s: int = GRACE_S) -> PublishedMap:
    return PublishedMap(db.engine, grace_s, current_app.extensions["slipway.publication"])


def located(path: str) -> Located | None:
    return published_map().locate(path)


def version_of(subarch: str, file: str = "boot-kernel") -> str | None:
    found = located(NOBLE.format(subarch, file))
    return found.version if found else None


def owner_of(subarch: str, file: str = "boot-kernel") -> str | None:
    """The image that answers, by the subarch in its pinned name."""
    found = located(NOBLE.format(subarch, file))
    return found.pinned_path.split("/")[2] if found else None


def test_an_image_answers_to_its_subarch_and_its_other_names(region: Flask) -> None:
    images.image(answers_to=["generic", "ga-24.04", "hwe-24.04"])
    assert [owner_of(name) for name in ("ga-24.04", "generic", "hwe-24.04", "hwe-22.04")] == [
        "ga-24.04",
        "ga-24.04",
        "ga-24.04",
        None,
    ]


def test_a_name_belongs_to_its_owner_not_to_who_also_answers(region: Flask) -> None:
    images.image(subarch="ga-24.04", answers_to=["hwe-24.04", "generic"])
    images.image(subarch="hwe-24.04", answers_to=["ga-24.04", "generic"], version="20260106")
    assert [owner_of(name) for name in ("ga-24.04", "hwe-24.04")] == ["ga-24.04", "hwe-24.04"]
    assert owner_of("hwe-24.04", "20260106/boot-kernel") == "hwe-24.04"
    assert located(NOBLE.format("hwe-24.04", "20260105/boot-kernel")) is None


@pytest.mark.parametrize("is_reversed", [False, True])
def test_of_several_that_answer_one_gets_the_name_whole(is_reversed: bool, region: Flask) -> None:
    made: list[dict[str, Any]] = [
        {"subarch": "hwe-24.04", "version": "20260106"},
        {"subarch": "ga-24.04-lowlatency", "kflavor": "lowlatency", "version": "20260107"},
        {"subarch": "ga-24.04", "version": "20260105"},
    ]
    for values in reversed(made) if is_reversed else made:
        images.image(answers_to=["generic"], **values)
    assert owner_of("generic") == "ga-24.04"
    assert owner_of("generic", "20260105/boot-kernel") == "ga-24.04"
    assert located(NOBLE.format("generic", "20260106/boot-kernel")) is None


def test_an_image_without_a_current_version_loses_its_other_names(region: Flask) -> None:
    gone = images.image(subarch="ga-24.04", answers_to=["generic"])
    images.image(subarch="hwe-24.04", answers_to=["generic"], version="20260106")
    db.session.execute(
        update(ResourceSet).where(ResourceSet.id == gone.current_set_id).values(retired_at=utcnow())
    )
    gone.current_set_id = None
    images.publish()
    assert owner_of("generic") == "hwe-24.04"
    assert owner_of("ga-24.04") is None
    assert owner_of("ga-24.04", "20260105/boot-kernel") == "ga-24.04"


def test_a_file_is_found_by_its_type_where_that_is_one_file(region: Flask) -> None:
    files = {"vmlinuz": b"k", "root.a": b"1", "root.b": b"2", "squashfs": b"s", "x": b"x"}
    resource = images.image(files)
    for name, ftype in {"vmlinuz": "boot-kernel", "x": "squashfs"}.items():
        db.session.execute(
            update(ResourceFile).where(ResourceFile.filename == name).values(ftype=ftype)
        )
    images.publish()
    assert resource.current_set_id
    kernel = located(NOBLE.format("generic", "boot-kernel"))
    assert kernel == located(NOBLE.format("generic", "vmlinuz"))
    assert kernel is not None
    assert kernel.pinned_path.endswith("/20260105/vmlinuz")
    assert located(NOBLE.format("generic", "root")) is None
    # A file name is never overruled by somebody's type.
    root = located(NOBLE.format("generic", "squashfs"))
    assert root is not None
    assert root.pinned_path.endswith("/squashfs")


def test_an_uploaded_image_without_os_is_custom(region: Flask) -> None:
    images.image(
        {"root-tgz": b"t"}, os="", release="my-image", subarch="generic", label="uploaded",
        name="my-image", rtype="uploaded",
    )  # fmt: skip
    assert located("custom/amd64/generic/my-image/uploaded/root-tgz") is not None
    assert image_path("", "amd64", "generic", "my-image", "uploaded", file="root-tgz") == (
        "custom/amd64/generic/my-image/uploaded/root-tgz"
    )


def test_odd_characters_in_names(region: Flask) -> None:
    images.image({"root tgz%2f?#.ümlaut": b"t"}, os="", release="my image", name="my image")
    # A WSGI server hands over UTF-8 as if it were Latin-1.
    asked = "custom/amd64/ga-24.04/my image/stable/root tgz%2f?#.ümlaut"
    found = located(asked.encode().decode("latin-1"))
    assert found is not None
    assert found.pinned_path == (
        "custom/amd64/ga-24.04/my%20image/stable/20260105/root%20tgz%252f%3F%23.%C3%BCmlaut"
    )


def test_only_complete_versions_are_published(region: Flask) -> None:
    resource = images.image()
    db.session.execute(update(ResourceSet).values(completed_at=None))
    images.publish()
    assert resource.current_set_id
    assert located(NOBLE.format("ga-24.04", "boot-kernel")) is None
    assert located(NOBLE.format("ga-24.04", "20260105/boot-kernel")) is None


def test_a_replaced_version_stays_pinned_for_the_grace_time(region: Flask) -> None:
    resource = images.image()
    images.switch(resource, {"boot-kernel": b"2"}, version="20260106")
    assert version_of("generic") == "20260106"
    assert version_of("generic", "20260105/boot-kernel") == "20260105"
    assert version_of("generic", "20260106/boot-kernel") == "20260106"
    db.session.execute(
        update(ResourceSet)
        .where(ResourceSet.version == "20260105")
        .values(retired_at=utcnow() - timedelta(seconds=GRACE_S + 1))
    )
    images.publish()
    assert version_of("generic", "20260105/boot-kernel") is None


def test_the_end_of_a_grace_time_needs_no_new_publication(region: Flask) -> None:
    resource = images.image()
    images.switch(resource, {"boot-kernel": b"2"}, version="20260106")
    short = published_map(grace_s=1)
    assert short.locate(NOBLE.format("generic", "20260105/boot-kernel")) is not None
    db.session.execute(
        update(ResourceSet)
        .where(ResourceSet.version == "20260105")
        .values(retired_at=utcnow() - timedelta(seconds=0.9))
    )
    images.publish()
    names = short.names(refresh=True)
    assert names.until is not None
    while utcnow() < names.until:
        pass
    assert short.names(refresh=True).locate(NOBLE.format("generic", "20260105/boot-kernel")) is None
    assert short.names().serial == names.serial


def test_the_label_is_part_of_the_name(region: Flask) -> None:
    resource = images.image()
    images.switch(resource, {"boot-kernel": b"2"}, version="20260106", label="candidate")
    assert located(NOBLE.format("generic", "boot-kernel")) is None
    assert version_of("generic", "20260105/boot-kernel") == "20260105"
    candidate = located("ubuntu/amd64/generic/noble/candidate/boot-kernel")
    assert candidate is not None
    assert candidate.version == "20260106"


def test_dates_are_weak_when_two_versions_share_a_second(region: Flask) -> None:
    second = datetime(2026, 1, 6, 1, 2, 3, tzinfo=UTC)
    resource = images.image(completed_at=second)
    images.switch(
        resource, {"boot-kernel": b"2"}, version="20260106",
        completed_at=second + timedelta(seconds=0.5),
    )  # fmt: skip
    floating = located(NOBLE.format("generic", "boot-kernel"))
    pinned = located(NOBLE.format("generic", "20260106/boot-kernel"))
    assert floating is not None
    assert pinned is not None
    assert (floating.is_date_strong, pinned.is_date_strong) == (False, True)


def test_unchanged_names_are_not_read_again(
    region: Flask, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    images.image()
    published = published_map()
    before = published.names()
    with count_queries() as queries:
        for _ in range(50):
            published.locate(NOBLE.format("generic", "boot-kernel"))
    assert len(queries) <= 1, queries
    with count_queries() as queries:
        assert published.names(refresh=True) is before
    assert len(queries) == 1, queries


def test_500_images_are_read_by_as_many_statements_as_one(
    region: Flask, count_queries: Callable[[], AbstractContextManager[Queries]]
) -> None:
    def reading() -> int:
        with count_queries() as queries, db.engine.connect() as connection:
            names = read_names(connection, 1, timedelta(seconds=GRACE_S), utcnow())
        assert len(names.folders) >= 2
        return len(queries)

    images.image(release="first")
    alone = reading()
    many_images(500)
    assert reading() == alone == 1
    published = published_map()
    assert published.locate("ubuntu/amd64/generic/release499/stable/squashfs") is not None


def many_images(number: int) -> None:
    """Rows of images without bytes, inserted in bulk."""
    blob = images.stored(b"the same everywhere")
    resources = [
        {
            "id": 1000 + n, "name": f"ubuntu/release{n}", "architecture": "amd64/ga-24.04",
            "os": "ubuntu", "release": f"release{n}", "arch": "amd64", "subarch": "ga-24.04",
            "answers_to": ["generic", "ga-24.04"],
        }
        for n in range(number)
    ]  # fmt: skip
    sets = [
        {
            "id": 1000 + n, "resource_id": 1000 + n, "version": "20260105", "label": "stable",
            "completed_at": utcnow(),
        }
        for n in range(number)
    ]  # fmt: skip
    files = [
        {"set_id": row["id"], "blob_id": blob.id, "filename": name, "ftype": name}
        for row in sets
        for name in images.FILES
    ]
    db.session.execute(insert(BootResource), resources)
    db.session.execute(insert(ResourceSet), sets)
    db.session.execute(insert(ResourceFile), files)
    db.session.execute(
        update(BootResource).where(BootResource.id >= 1000).values(current_set_id=BootResource.id)
    )
    images.publish()


def test_the_last_names_stay_while_the_database_is_away(region: Flask) -> None:
    images.image()
    published = published_map()
    names = published.names()
    db.session.execute(delete(ResourceFile))
    db.session.execute(delete(Blob))
    db.session.commit()
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE publication RENAME TO hidden")
    assert published.names(refresh=True) is names
    with db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO publication")
    images.publish()
    assert published.names(refresh=True).folders == {}
