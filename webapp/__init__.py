# SPDX-License-Identifier: Apache-2.0
"""Slipway: the image service of a bare-metal lab. ``create_app`` wires it together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from flask import Flask

    from webapp.config import Settings

Plane = Literal["web", "rack", "local", "none"]


def create_app(settings: Settings | None = None, plane: Plane = "web") -> Flask:
    """Build the app of one plane; the only place that wires parts together.

    plane: ``web`` answers users and scripts, ``rack`` answers machines and
    nothing else, ``local`` answers the command line of this machine within its
    process, ``none`` answers no one (worker).
    Raises SettingsProblem, DatabaseProblem or StoreProblem in words when it cannot start.
    """
    from flask import Flask

    from webapp import database, logs, publication
    from webapp.config import ROOT, Settings
    from webapp.extensions import db
    from webapp.middleware import merge_slashes
    from webapp.readiness import Readiness
    from webapp.routing import LazyRule
    from webapp.storage.opening import bucket_options, open_store

    settings = settings or Settings.load(os.environ)
    settings = database.prepared(settings)
    logs.configure(settings)
    app = Flask(
        "webapp",
        root_path=str(ROOT / "webapp"),
        template_folder=str(ROOT / "templates"),
        static_folder=None,
    )
    app.url_rule_class = LazyRule
    threads = {"web": settings.web_threads, "rack": settings.rack_threads}.get(plane, 8)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=database.engine_options(settings, threads),
    )
    app.extensions["slipway.settings"] = settings
    db.init_app(app)
    with app.app_context():
        engine = db.engine
        database.prepare_engine(engine)
        shared = publication.SharedSerial(settings.data_dir)
        publication.announce_commits(engine, shared)
        app.extensions["slipway.publication"] = shared
        app.extensions["slipway.store"] = open_store(
            settings.store,
            settings.store_dir,
            engine,
            bucket=bucket_options(settings),
            is_first_start=lambda: not database.holds_blobs(engine),
        )
    if plane == "web":
        from webapp import api, rack, web

        web.register(app)
        api.register(app)
        rack.register_mirror(app)
    elif plane == "rack":
        from webapp import rack

        rack.register(app)
    elif plane == "local":
        from webapp.api import v1

        v1.register(app)
    merge_slashes(app)
    if plane in ("web", "rack"):
        app.wsgi_app = Readiness(app.wsgi_app, lambda: _check(app, plane))  # type: ignore[method-assign]
    return app


def _check(app: Flask, plane: Plane) -> None:
    """Raise a Problem unless this plane can serve: a rack does so without the database, too."""
    from webapp import database
    from webapp.extensions import db
    from webapp.readiness import NO_BLOB

    if plane == "web":
        with app.app_context():
            database.ping(db.engine)
    app.extensions["slipway.rack"].published.names()
    app.extensions["slipway.store"].stat(NO_BLOB)
