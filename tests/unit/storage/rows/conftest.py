# SPDX-License-Identifier: Apache-2.0
"""The store of rows under test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.stores import Harness, Place
from webapp.storage.tables import storage_metadata


@pytest.fixture
def harness(request: pytest.FixtureRequest, engine_name: str, tmp_path: Path) -> Iterator[Harness]:
    url = f"sqlite:///{tmp_path / 'region.db'}"
    if engine_name == "postgres":
        url = request.getfixturevalue("store_postgres_url")
    harness = Harness(Place("database", tmp_path, url))
    yield harness
    storage_metadata.drop_all(harness.engine)
    harness.engine.dispose()
