# SPDX-License-Identifier: Apache-2.0
"""What local commands need: the settings of this process, and an app with its database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from webapp import Plane
from webapp.cli import output
from webapp.config import Settings, unknown_names
from webapp.errors import Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def loaded_settings() -> Settings:
    """The settings of this process; warns about unknown names."""
    for name in unknown_names(os.environ):
        output.error(f"unknown setting {name} ignored")
    return Settings.load(os.environ)


@contextmanager
def app_context() -> Iterator[Settings]:
    """An app without endpoints, with its database checked, for one command."""
    with _entered("none") as (settings, _):
        yield settings


@contextmanager
def local_app() -> Iterator[WSGIApplication]:
    """An app for this process only, with its database checked, for one command."""
    with _entered("local") as (_, app):
        yield app


@contextmanager
def _entered(plane: Plane) -> Iterator[tuple[Settings, WSGIApplication]]:
    from webapp import create_app, database
    from webapp.extensions import db
    from webapp.services.system import reserve

    settings = loaded_settings()
    _refuse_missing(settings)
    app = create_app(settings, plane=plane)
    with app.app_context():
        try:
            reserve.release_if_full()
            database.check_revision(db.engine)
            yield settings, app
        finally:
            db.session.remove()
            db.engine.dispose()


def _refuse_missing(settings: Settings) -> None:
    """A misspelt data folder must not become a second, empty system."""
    file = settings.database_url.removeprefix("sqlite:///")
    if file != settings.database_url and not os.path.exists(file):
        raise Problem(
            "No Slipway database found.",
            code="database-missing",
            where=file,
            expected="the database of a Slipway that was started before",
            got="no such file",
            next_step="Correct SLIPWAY_DATA_DIR, or create a database with `slipway db upgrade`.",
        )
