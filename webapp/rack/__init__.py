# SPDX-License-Identifier: Apache-2.0
"""What machines fetch: GET and HEAD of published files, and nothing else."""

from __future__ import annotations

from functools import partial

from flask import Flask

from webapp.extensions import db, settings, store
from webapp.rack.files import Files
from webapp.rack.proofs import Proofs
from webapp.services.images.fetching import Fetches
from webapp.services.images.serving import PublishedMap
from webapp.services.system import recorder


def register(app: Flask) -> None:
    """Make the app answer machines; ``app.extensions["slipway.rack"]`` is the Files."""
    with app.app_context():
        known = settings()
        files = Files(
            PublishedMap(db.engine, known.retire_grace, app.extensions["slipway.publication"]),
            store(),
            recorder.Recorder(partial(recorder.write, db.engine)),
            Proofs(store(), db.engine),
            Fetches(db.engine),
            accel_prefix=known.accel_prefix,
            trusted_proxies=known.trusted_proxies,
        )
    app.extensions["slipway.rack"] = files
    app.wsgi_app = files  # type: ignore[method-assign]
