# SPDX-License-Identifier: Apache-2.0
"""A mirror to connect to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer


@pytest.fixture(scope="module")
def server(shared_mirror: Mirror) -> Iterator[MirrorServer]:
    with MirrorServer(shared_mirror) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_faults(server: MirrorServer) -> None:
    server.set_faults([])
