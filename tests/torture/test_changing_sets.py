# SPDX-License-Identifier: Apache-2.0
"""Sets change again and again under readers who fetch all files of what is current."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from tests.rack import images
from tests.rack.conftest import BASE
from tests.rack.server import LiveRack
from tests.remoterack.remote import fetch, publish
from tests.support import live
from tests.support.databases import Databases
from tests.torture.conftest import Show, scaled
from webapp.extensions import db
from webapp.models import BootResource

UPDATES = scaled(100, 6)
NAMES = ("boot-kernel", "boot-initrd", "squashfs")
FOLDER = BASE.replace("noble", "changing")
PRODUCT = "p:v3:changing"
ENGINES = ["gunicorn", "nginx"]
FIRST, *REST = (f"2026{n:04}" for n in range(UPDATES + 1))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def content(name: str, version: str) -> bytes:
    return f"{name} of {version} ".encode() * 4000


def files(version: str) -> dict[str, bytes]:
    return {name: content(name, version) for name in NAMES}


@pytest.fixture(params=ENGINES)
def rack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_databases: Databases,
) -> Iterator[LiveRack]:
    folder = tmp_path_factory.mktemp("rack")
    rack = LiveRack(folder, sqlite_databases.migrated(), rack_workers=2, rack_engine=request.param)
    with rack.app.app_context():
        images.image(files(FIRST), release="changing", version=FIRST, product=PRODUCT)
        db.session.remove()
    publish(rack)
    with rack:
        yield rack


def pinned_set(rack: LiveRack) -> tuple[str, list[str]]:
    """What a machine does: asks what is current, and fetches all of it."""
    version = fetch(rack.url, f"{FOLDER}/boot-kernel", method="HEAD").headers["X-Slipway-Version"]
    faults = []
    for name in NAMES:
        answer = fetch(rack.url, f"{FOLDER}/{version}/{name}")
        if (answer.status, answer.body) != (200, content(name, version)):
            faults.append(f"{name} of {version}: {answer.status} {answer.body[:40]!r}")
    return version, faults


def listed_set(rack: LiveRack) -> tuple[str, list[str]]:
    """What a mirror does: reads the signed index, its products and all files of the newest."""
    index = json.loads(fetch(rack.url, "/mirror/streams/v1/index.json").body)
    [path] = {entry["path"] for entry in index["index"].values()}
    products: dict[str, Any] = json.loads(fetch(rack.url, f"/mirror/{path}").body)["products"]
    version, newest = max(products[PRODUCT]["versions"].items())
    faults = [] if set(newest["items"]) == set(NAMES) else [f"{version} has {newest['items']}"]
    for name, entry in newest["items"].items():
        answer = fetch(rack.url, f"/mirror/{entry['path']}")
        is_listed = entry["sha256"] == hashlib.sha256(answer.body).hexdigest()
        if (answer.status, is_listed, answer.body) != (200, True, content(name, version)):
            faults.append(f"{name} of {version}: {answer.status} {answer.body[:40]!r}")
    return version, faults


def test_no_reader_gets_a_set_of_two_versions(rack: LiveRack, show: Show) -> None:
    is_over = threading.Event()

    def poll(read: Callable[[LiveRack], tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
        seen = []
        while not is_over.is_set():
            seen.append(read(rack))
        seen.append(read(rack))
        return seen

    with ThreadPoolExecutor(3) as pool:
        polls = [pool.submit(poll, read) for read in (pinned_set, pinned_set, listed_set)]
        try:
            for version in REST:
                with rack.app.app_context():
                    resource = db.session.scalars(select(BootResource)).one()
                    images.switch(resource, files(version), version=version)
                    db.session.remove()
                publish(rack)
            live.wait_until(
                lambda: {pinned_set(rack)[0], listed_set(rack)[0]} == {REST[-1]}, "the last set"
            )
        finally:
            is_over.set()
        seen = [one.result() for one in polls]
    faults = [fault for reader in seen for _, found in reader for fault in found]
    show(
        "updates under three readers",
        done=UPDATES,
        sets_read=sum(map(len, seen)),
        versions_seen=len({version for reader in seen for version, _ in reader}),
        mixed=len(faults),
    )
    assert faults == []
    # Each process looks for another signed stream once a second; all change names at once.
    for reader in seen[:2]:
        versions = [version for version, _ in reader]
        assert versions == sorted(versions)
        assert versions[-1] == REST[-1]
    assert len({version for version, _ in seen[2]}) > 1
