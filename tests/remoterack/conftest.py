# SPDX-License-Identifier: Apache-2.0
"""A region that racks elsewhere follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rack.server import LiveRack
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def region(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> Iterator[LiveRack]:
    """A region with nothing on it yet."""
    folder: Path = tmp_path_factory.mktemp("region")
    with LiveRack(folder, sqlite_databases.migrated(), rack_threads=64) as found:
        yield found
