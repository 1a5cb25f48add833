# SPDX-License-Identifier: Apache-2.0
"""Rot in a bucket, from an import to its healing, as in test_rot.py."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.jobs.conftest import Lab
from tests.support import objects
from webapp.extensions import db, store
from webapp.models import Blob, BlobState
from webapp.services.blobs import scrubbing
from webapp.storage import object_keys
from webapp.storage.bucket import Bucket, BucketOptions

pytestmark = [pytest.mark.usefixtures("region"), pytest.mark.settings(scrub_rate=0)]


@pytest.fixture
def environ(environ: dict[str, str], object_place: BucketOptions) -> dict[str, str]:
    """The settings of a test, with its bytes in a bucket."""
    place = {f"SLIPWAY_{name.upper()}": v for name, v in objects.environ(object_place).items()}
    return environ | place


def test_rot_in_a_bucket_is_found_and_healed(lab: Lab, object_place: BucketOptions) -> None:
    lab.select("noble")
    assert lab.run().state == "succeeded"
    held = list(store().stats())
    assert {found.sha256 for found in held} == set(db.session.scalars(select(Blob.sha256)))
    bad, gone = held[0], held[1]
    bucket = Bucket(object_place)
    key = object_keys.blob(bad.sha256)
    bucket.ask("put_object", Key=key, Body=bytes(bad.size))
    store().delete(gone.sha256)
    scrubbing.request("ann")
    scrubbing.work(lambda: False)
    assert states() == {bad.sha256, gone.sha256}
    assert lab.run().state == "succeeded"
    assert states() == set()
    assert all(store().verify(found.sha256) for found in (bad, gone))


def states() -> set[str]:
    """The digests of blobs that aren't whole."""
    db.session.expire_all()
    return set(db.session.scalars(select(Blob.sha256).where(Blob.state == BlobState.BAD)))
