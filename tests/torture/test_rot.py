# SPDX-License-Identifier: Apache-2.0
"""Many blobs rot at once, each in one of all kinds: found, never served, healed."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from tests.jobs import rotten
from tests.jobs.conftest import Lab, check_region
from tests.mirror import catalogue
from tests.mirror.maker import ARCHES
from tests.rack import images
from tests.torture.conftest import Show, scaled
from webapp.extensions import db, settings
from webapp.models import Blob, BlobState, BootSource, BootSourceSelection, ResourceType
from webapp.services.blobs import scrubbing

BLOBS = scaled(1000, 14)
UPLOADS = scaled(500, 2)
RELEASES = scaled(len(catalogue.RELEASES), 1)
STORES = [
    pytest.param("filesystem", marks=pytest.mark.settings(store="filesystem")),
    pytest.param("database", marks=pytest.mark.settings(store="database")),
]

pytestmark = [
    pytest.mark.usefixtures("region"),
    pytest.mark.settings(scrub_rate=0, retire_grace=0),
    pytest.mark.timeout(1800),
]


@pytest.fixture
def machine(make_app: Callable[[str], Flask]) -> Iterator[FlaskClient]:
    """A machine that fetches from this region's rack."""
    app = make_app("rack")
    yield app.test_client()
    app.extensions["slipway.rack"].recorder.close()


@pytest.fixture
def big_lab(make_lab: Callable[..., Lab]) -> Lab:
    """A region that holds everything its mirror offers."""
    releases = [release.codename for release in catalogue.RELEASES][:RELEASES]
    if RELEASES == 1:
        releases, kinds = ["noble"], {"arches": ("amd64", "arm64"), "kernels": 2}
    else:
        kinds = {"arches": ARCHES, "kernels": 0}
    lab = make_lab(releases=releases, sizes=dict.fromkeys(catalogue.SMALL_SIZES, 5000), **kinds)
    source = db.session.get_one(BootSource, lab.source_id)
    for release in releases:
        arches = [arch for arch in ARCHES if lab.wanted(release=release, arch=arch)]
        row = BootSourceSelection(source_id=source.id, os="ubuntu", release=release, arches=arches)
        db.session.add(row)
    db.session.commit()
    assert lab.run().state == "succeeded"
    for number in range(UPLOADS):
        # No source offers these: they are healed from copies in the import folder.
        content = random.Random(number).randbytes(4000 + number)
        uploaded = {"rtype": ResourceType.UPLOADED, "os": "", "release": f"lab{number}"}
        images.image({"root-tgz": content}, label="uploaded", **uploaded)
        copy = settings().import_dir / f"lab{number}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    return lab


def answers(machine: FlaskClient) -> Counter[str]:
    """What machines get for every name: right, refused, or wrong."""
    files = machine.application.extensions["slipway.rack"]
    names = files.published.names(refresh=True)
    seen: Counter[str] = Counter()
    for folder, content in names.folders.items():
        for name, located in content.items():
            if located.is_pinned:
                continue
            try:
                answer = machine.get(f"/images/{folder}/{name}", buffered=True)
            except Exception:  # the server breaks the connection off
                seen["refused"] += 1
                continue
            with answer:
                found = hashlib.sha256(answer.data).hexdigest()
            if answer.status_code == 503:
                seen["refused"] += 1
            else:
                seen["right" if found == located.sha256 else "wrong"] += 1
    return seen


def bad() -> int:
    db.session.expire_all()
    query = select(func.count()).select_from(Blob).where(Blob.state == BlobState.BAD)
    return db.session.scalar(query) or 0


@pytest.mark.parametrize("kind_of_store", STORES)
def test_whatever_rots_is_found_not_served_and_healed(
    kind_of_store: str, big_lab: Lab, machine: FlaskClient, chance: random.Random, show: Show
) -> None:
    digests = list(db.session.scalars(select(Blob.sha256).order_by(Blob.sha256)))
    kinds = [kind for kind in rotten.KINDS if (kind_of_store, kind) != ("database", "extend")]
    chosen = chance.sample(digests, min(BLOBS, len(digests)))
    for number, digest in enumerate(chosen):
        # Half of them keep their time stamp, as a disk that rots leaves it.
        rotten.damage(digest, kinds[number % len(kinds)], is_silent=chance.random() < 0.5)
    scrubbing.request("ann")
    scrubbing.work(lambda: False)
    found, served = bad(), answers(machine)
    run = big_lab.run()
    after = answers(machine)
    show(
        f"rot on the {kind_of_store} store",
        blobs=len(chosen),
        found=found,
        served_wrong=served["wrong"] + after["wrong"],
        healed=found - bad(),
    )
    assert found == len(chosen)
    assert served["wrong"] == after["wrong"] == 0
    assert served["refused"] > 0
    assert (run.state, bad(), after["refused"]) == ("succeeded", 0, 0)
    assert after["right"] == served.total()
    check_region()
