# SPDX-License-Identifier: Apache-2.0
"""What commands stand on: the settings of this process, and an app with its database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from webapp.config import Settings, unknown_names
from webapp.errors import Problem


def loaded_settings() -> Settings:
    """The settings of this process; names that mean nothing are pointed out."""
    for name in unknown_names(os.environ):
        click.echo(f"slipway: there is no setting {name}; it is ignored", err=True)
    return Settings.load(os.environ)


@contextmanager
def app_context() -> Iterator[Settings]:
    """An app that answers nobody, with its database checked, for one command."""
    from webapp import create_app, database
    from webapp.extensions import db

    settings = loaded_settings()
    _refuse_missing(settings)
    app = create_app(settings, plane="none")
    with app.app_context():
        database.check_revision(db.engine)
        yield settings


def _refuse_missing(settings: Settings) -> None:
    """A misspelt data folder must not become a second, empty system."""
    file = settings.database_url.removeprefix("sqlite:///")
    if file != settings.database_url and not os.path.exists(file):
        raise Problem(
            "There is no Slipway database here.",
            code="database-missing",
            where=file,
            expected="the database of a Slipway that was started once",
            got="no such file",
            next_step="Correct SLIPWAY_DATA_DIR, or make a new one with `slipway db upgrade`.",
        )
