# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from tests.support.databases import Databases
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import PublishedStream
from webapp.services.backups import making, restoring
from webapp.services.backups.making import Keep
from webapp.services.mirror import keys, publishing


@pytest.mark.both_databases
def test_the_keys_of_the_mirror_come_along(
    region: Flask, settings: Settings, engine_databases: Databases, tmp_path: Path
) -> None:
    assert publishing.reconcile()
    making.make(tmp_path / "backup.tar", Keep.NONE, lambda done, total: None)
    signer = keys.signer()
    assert signer is not None
    folder = tmp_path / "elsewhere"
    url = engine_databases.empty()
    there = replace(settings, data_dir=folder, store_dir=folder / "store", database_url=url)
    there = replace(there, secret_key="", queue_url=f"sqlite:///{folder}/queue.db")
    restoring.restore(tmp_path / "backup.tar", there, lambda done: None)
    [secret] = (folder / "signing").iterdir()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    app = create_app(there, plane="none")
    with app.app_context():
        db.session.get_one(PublishedStream, 1).state = ""
        db.session.commit()
        assert publishing.reconcile()
        assert keys.signer() == signer
        db.session.remove()
        db.engine.dispose()
    engine_databases.drop(url)
