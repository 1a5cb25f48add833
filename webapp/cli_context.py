# SPDX-License-Identifier: Apache-2.0
"""What commands stand on: the settings of this process, and an app with its database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from webapp.config import Settings, unknown_names


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
    app = create_app(settings, plane="none")
    with app.app_context():
        database.check_revision(db.engine)
        yield settings
