# SPDX-License-Identifier: Apache-2.0
"""A small mirror, its server and the folder to pull into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.mirror.pulling import make_small


@pytest.fixture
def upstream(tmp_path: Path, signing_key: SigningKey) -> Mirror:
    return make_small(tmp_path / "upstream", signing_key)


@pytest.fixture
def server(upstream: Mirror) -> Iterator[MirrorServer]:
    with MirrorServer(upstream) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "local"
