# SPDX-License-Identifier: Apache-2.0
"""A server of one document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.server import MirrorServer
from tests.unit.fetch.http.requests import CONTENT


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MirrorServer]:
    tmp_path.joinpath("document").write_bytes(CONTENT)
    tmp_path.joinpath("other").write_bytes(b"[]")
    with MirrorServer(tmp_path) as running:
        yield running
