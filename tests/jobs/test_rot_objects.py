# SPDX-License-Identifier: Apache-2.0
"""Rot in a bucket, from an import to its healing, as in test_rot.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from tests.jobs import rotten
from tests.jobs.conftest import Lab, files
from tests.support import objects
from webapp.extensions import db, store
from webapp.models import Blob, BlobState, Event
from webapp.rack.proofs import Proofs
from webapp.services.blobs import checking, scrubbing
from webapp.storage import object_keys
from webapp.storage.bucket import Bucket, BucketOptions
from webapp.storage.errors import BlobMissing

pytestmark = [pytest.mark.usefixtures("region"), pytest.mark.settings(scrub_rate=0)]
KERNEL = "/images/ubuntu/amd64/ga-24.04/noble/stable/boot-kernel"


@pytest.fixture
def environ(environ: dict[str, str], object_place: BucketOptions) -> dict[str, str]:
    """The settings of a test, with its bytes in a bucket."""
    place = {f"SLIPWAY_{name.upper()}": v for name, v in objects.environ(object_place).items()}
    return environ | place


@pytest.fixture
def kernel(lab: Lab) -> str:
    """The digest of a kernel that machines get."""
    lab.select("noble")
    assert lab.run().state == "succeeded"
    return files("ubuntu/noble amd64/ga-24.04")["boot-kernel"]


@pytest.fixture
def machine(make_app: Callable[[str], Flask]) -> Iterator[FlaskClient]:
    """A machine that fetches from this region's rack."""
    app = make_app("rack")
    yield app.test_client()
    app.extensions["slipway.rack"].close()


@pytest.fixture
def damage(object_place: BucketOptions) -> Callable[[str, str], None]:
    """Change an object past the store, in one of the ways of rotten.KINDS."""
    bucket = Bucket(object_place)

    def change(sha256: str, kind: str) -> None:
        key = object_keys.blob(sha256)
        with bucket.ask("get_object", Key=key)["Body"] as body:
            data = rotten.KINDS[kind](body.read())
        if data is None:
            bucket.ask("delete_object", Key=key)
        else:
            bucket.ask("put_object", Key=key, Body=data)

    return change


def test_rot_in_a_bucket_is_found_and_healed(
    lab: Lab, kernel: str, damage: Callable[[str, str], None]
) -> None:
    held = list(store().stats())
    assert {found.sha256 for found in held} == set(db.session.scalars(select(Blob.sha256)))
    bad, gone = held[0], held[1]
    damage(bad.sha256, "swap")
    store().delete(gone.sha256)
    scrubbing.request("ann")
    scrubbing.work(lambda: False)
    assert bad_ones() == {bad.sha256, gone.sha256}
    assert lab.run().state == "succeeded"
    assert bad_ones() == set()
    assert all(store().verify(found.sha256) for found in (bad, gone))


@pytest.mark.parametrize("kind", rotten.KINDS)
def test_a_changed_object_is_hashed_before_its_first_byte_goes_out(
    kind: str, lab: Lab, kernel: str, machine: FlaskClient, damage: Callable[[str, str], None]
) -> None:
    assert fetch(machine) == (200, kernel)
    damage(kernel, kind)
    assert fetch(machine)[0] == 503
    assert bad_ones() == {kernel}
    event = db.session.scalars(select(Event).where(Event.kind == "blob.damaged")).one()
    assert (event.actor, event.subject) == ("rack", kernel)
    assert lab.run().state == "succeeded"
    assert fetch(machine) == (200, kernel)


def test_an_object_that_was_replaced_by_the_same_bytes_is_served_and_noted(
    kernel: str, machine: FlaskClient, object_place: BucketOptions
) -> None:
    recorded = pin(kernel)
    rewrite(Bucket(object_place), kernel)
    assert fetch(machine) == (200, kernel)
    assert recorded != pin(kernel) == store().stat(kernel).mtime_ns  # type: ignore[union-attr]
    assert bad_ones() == set()


@pytest.mark.parametrize("is_right", [True, False])
def test_an_object_that_is_replaced_while_it_is_sent_breaks_off_and_is_judged_by_its_bytes(
    kernel: str,
    machine: FlaskClient,
    damage: Callable[[str, str], None],
    object_place: BucketOptions,
    is_right: bool,
) -> None:
    published = machine.application.extensions["slipway.rack"].published
    found = published.locate(KERNEL.removeprefix("/images/"))
    proofs = Proofs(store(), db.engine)
    reader = proofs.open(found)
    assert reader is not None
    if is_right:
        rewrite(Bucket(object_place), kernel)
    else:
        damage(kernel, "flip")
    with pytest.raises(BlobMissing):
        b"".join(proofs.watched(reader.chunks(), found))
    assert bad_ones() == (set() if is_right else {kernel})


def test_an_import_and_the_hourly_check_find_a_changed_object_by_themselves(
    lab: Lab, kernel: str, damage: Callable[[str, str], None]
) -> None:
    damage(kernel, "flip")
    assert lab.run().state == "succeeded"
    assert store().verify(kernel)
    damage(kernel, "flip")
    checking.check_store()
    scrubbing.work(lambda: False)
    assert bad_ones() == {kernel}


def test_what_was_never_pinned_is_hashed_before_it_is(
    lab: Lab, kernel: str, damage: Callable[[str, str], None]
) -> None:
    db.session.execute(update(Blob).values(mtime_ns=None))
    db.session.commit()
    damage(kernel, "flip")
    assert lab.run().state == "succeeded"
    assert pin(kernel) is None
    checking.check_store()
    scrubbing.work(lambda: False)
    assert bad_ones() == {kernel}


def rewrite(bucket: Bucket, sha256: str) -> None:
    """Replace an object by the same bytes with another ETag, as someone who copies it."""
    key = object_keys.blob(sha256)
    with bucket.ask("get_object", Key=key)["Body"] as body:
        data = body.read()
    place = {"Key": key, "UploadId": bucket.ask("create_multipart_upload", Key=key)["UploadId"]}
    part = bucket.ask("upload_part", PartNumber=1, Body=data, **place)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    bucket.ask("complete_multipart_upload", MultipartUpload=parts, **place)


def fetch(machine: FlaskClient) -> tuple[int, str]:
    """The status of a fetch and the digest of what came."""
    machine.application.extensions["slipway.rack"].published.names(refresh=True)
    with machine.get(KERNEL, buffered=True) as answer:
        return answer.status_code, hashlib.sha256(answer.data).hexdigest()


def pin(sha256: str) -> int | None:
    """What is recorded of the object whose bytes were hashed."""
    db.session.expire_all()
    return db.session.scalars(select(Blob.mtime_ns).where(Blob.sha256 == sha256)).one()


def bad_ones() -> set[str]:
    """The digests of blobs that aren't whole."""
    db.session.expire_all()
    return set(db.session.scalars(select(Blob.sha256).where(Blob.state == BlobState.BAD)))
