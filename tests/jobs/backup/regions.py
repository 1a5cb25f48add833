# SPDX-License-Identifier: Apache-2.0
"""Regions that are backed up and restored."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask

from webapp import Plane, create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import Upload
from webapp.services.uploads import finishing, uploads
from webapp.services.uploads.fields import Declared

PAYLOADS = [random.Random(seed).randbytes(3 << 20 | seed) for seed in (1, 2)]
Elsewhere = Callable[..., Settings]


@contextmanager
def running(settings: Settings, plane: Plane = "none") -> Iterator[Flask]:
    """An app on restored settings."""
    app = create_app(settings, plane=plane)
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()


def uploaded(data: bytes, name: str, count: int | None = None) -> Upload:
    """An upload of which some bytes came; published when all did."""
    upload = uploads.create(
        Declared(name, "amd64/generic", len(data), filetype="tgz", is_checked_first=False), "ann"
    )
    uploads.append(upload, [data[:count]])
    if count is None:
        finishing.finish(upload)
    return upload


def served(settings: Settings, path: str) -> tuple[int, str]:
    """What a machine gets from a rack: status and digest."""
    with running(settings, "rack") as app:
        try:
            with app.test_client().get(path, buffered=True) as answer:
                return answer.status_code, hashlib.sha256(answer.data).hexdigest()
        finally:
            app.extensions["slipway.rack"].close()


def quiet(*_progress: int) -> None:
    """Nobody watches."""
