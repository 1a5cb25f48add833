# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.jobs.backup.regions import PAYLOADS, Elsewhere, quiet, uploaded
from tests.support.databases import Databases
from webapp.config import Settings
from webapp.services.backups import making
from webapp.services.backups.making import Keep


@pytest.fixture
def elsewhere(
    settings: Settings, tmp_path: Path, engine_databases: Databases
) -> Iterator[Elsewhere]:
    """Settings of another machine: an empty folder and an empty database."""
    urls = []

    def make(**values: Any) -> Settings:
        urls.append(engine_databases.empty())
        folder = tmp_path / f"elsewhere{len(urls)}"
        given: dict[str, Any] = {
            "data_dir": folder,
            "store_dir": folder / "store",
            "database_url": urls[-1],
            "queue_url": f"sqlite:///{folder}/queue.db",
            "secret_key": "",
            **values,
        }
        return replace(settings, **given)

    yield make
    for url in urls:
        engine_databases.drop(url)


@pytest.fixture
def backup(region: Flask, tmp_path: Path) -> Path:
    """A small backup with one upload."""
    uploaded(PAYLOADS[0], "mine")
    making.make(tmp_path / "backup", Keep.UPLOADS, quiet)
    return tmp_path / "backup"
