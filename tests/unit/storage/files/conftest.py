# SPDX-License-Identifier: Apache-2.0
"""The store of files under test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.stores import Harness, Place
from webapp.storage.base import BlobStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def harness(root: Path) -> Harness:
    return Harness(Place("filesystem", root, "sqlite://"))


@pytest.fixture
def store(harness: Harness) -> BlobStore:
    return harness.store
