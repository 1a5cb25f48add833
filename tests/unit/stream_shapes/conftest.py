# SPDX-License-Identifier: Apache-2.0
"""A stream to publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import Stream


@pytest.fixture
def stream(tmp_path: Path, signing_key: SigningKey) -> Stream:
    return Stream(tmp_path / "upstream", signing_key)
