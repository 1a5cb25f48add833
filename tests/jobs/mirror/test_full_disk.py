# SPDX-License-Identifier: Apache-2.0
"""On a full disk the last signed stream stays, and the next one follows once there's room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.jobs.mirror.test_offering import documents, products
from tests.rack import images
from tests.support.full_disk import MIB, fill, small_disk
from webapp import create_app, database
from webapp.config import Settings
from webapp.extensions import db
from webapp.services.mirror import options, publishing
from webapp.storage.errors import SPARE


@pytest.fixture
def small_region(environ: dict[str, str]) -> Iterator[tuple[Flask, Path]]:
    """A region whose data folder is a file system of its own."""
    with small_disk(SPARE + 8 * MIB) as disk:
        values = {**environ, "SLIPWAY_DATA_DIR": str(disk / "data")}
        values["SLIPWAY_DATABASE_URL"] = f"sqlite:///{disk}/data/slipway.db"
        app = create_app(Settings.load(values), plane="none")
        with app.app_context():
            database.upgrade(db.engine)
            yield app, disk
            db.session.remove()
            db.engine.dispose()


def test_a_full_disk_leaves_the_last_stream(small_region: tuple[Flask, Path]) -> None:
    _, disk = small_region
    images.image(product="p:v3:noble")
    images.image({"squashfs": b"x"}, name="ubuntu/jammy", release="jammy", product="p:v3:jammy")
    assert publishing.reconcile()
    before = documents()
    options.change("ada", images=("ubuntu/noble",))
    filling = fill(disk)
    assert not publishing.reconcile()
    assert documents() == before
    filling.unlink()
    assert publishing.reconcile()
    assert list(products()) == ["p:v3:noble"]


def test_without_room_for_a_key_nothing_is_published_yet(
    small_region: tuple[Flask, Path],
) -> None:
    _, disk = small_region
    filling = fill(disk)
    assert not publishing.reconcile()
    assert documents() == {}
    filling.unlink()
    assert publishing.reconcile()
