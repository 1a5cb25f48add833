# SPDX-License-Identifier: Apache-2.0
"""Small mirrors and their servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.streamclient.reading import make_small


@pytest.fixture
def small(tmp_path: Path, signing_key: SigningKey) -> Mirror:
    """A small mirror of its own."""
    return make_small(tmp_path / "small", signing_key)


@pytest.fixture(scope="module")
def still_server(
    tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey
) -> Iterator[MirrorServer]:
    """A small mirror, made once, whose files nobody changes."""
    with MirrorServer(make_small(tmp_path_factory.mktemp("still"), signing_key)) as running:
        yield running


@pytest.fixture
def still(still_server: MirrorServer) -> MirrorServer:
    """The same without faults and log."""
    still_server.set_faults()
    still_server.reset()
    return still_server


@pytest.fixture
def server(small: Mirror) -> Iterator[MirrorServer]:
    with MirrorServer(small) as running:
        yield running
