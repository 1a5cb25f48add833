# SPDX-License-Identifier: Apache-2.0
"""A server and a store for downloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.server import MirrorServer
from tests.unit.fetch.download.outcome import CONTENT, OTHER
from webapp.storage.filesystem import FilesystemStore


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MirrorServer]:
    folder = tmp_path / "www"
    folder.mkdir()
    folder.joinpath("image").write_bytes(CONTENT)
    folder.joinpath("other").write_bytes(OTHER)
    with MirrorServer(folder) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    made = FilesystemStore(tmp_path / "store")
    made.prepare(create=True)
    return made
