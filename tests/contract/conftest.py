# SPDX-License-Identifier: Apache-2.0
"""Every kind of store, each in turn, and other processes that use the same one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.stores import Harness, Place
from tests.support.databases import Databases
from webapp.storage.tables import storage_metadata

KINDS = ("filesystem", "database-sqlite", "database-postgres", "s3")


@pytest.fixture(scope="session")
def store_postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL database for stores: their tests make the tables and drop them."""
    found: Databases = request.getfixturevalue("postgres_databases")
    url = found.empty()
    yield url
    found.drop(url)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a fresh store of each kind lies."""
    kind, _, dialect = str(request.param).partition("-")
    if dialect == "postgres":
        url = request.getfixturevalue("store_postgres_url")
    else:
        url = f"sqlite:///{tmp_path / 'region.db'}"
    bucket = request.getfixturevalue("object_place") if kind == "s3" else None
    return Place(kind, tmp_path / "store", url, bucket)


@pytest.fixture
def harness(place: Place) -> Iterator[Harness]:
    """A fresh store of each kind. The test fails when it leaves something behind."""
    harness = Harness(place)
    yield harness
    leftovers = harness.leftovers()
    if not harness.is_files:
        storage_metadata.drop_all(harness.engine)
    harness.engine.dispose()
    assert leftovers == []


@pytest.fixture
def store(harness: Harness) -> object:
    """The store of ``harness``."""
    return harness.store
