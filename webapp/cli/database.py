# SPDX-License-Identifier: Apache-2.0
"""``slipway db``: migrations of the region's database."""

from __future__ import annotations

import click

from webapp.cli import output
from webapp.cli.context import loaded_settings
from webapp.cli.groups import Group


@click.group("db", cls=Group)
def database_group() -> None:
    """Migrate the database."""


@database_group.command("upgrade")
@click.argument("revision", default="head")
def db_upgrade(revision: str) -> None:
    """Create the database or migrate it to the latest schema.

    \b
    Examples:
      slipway db upgrade
      SLIPWAY_DATABASE_URL=postgresql://slipway@db/slipway slipway db upgrade
    """
    from webapp import create_app, database
    from webapp.extensions import db
    from webapp.extensions import settings as prepared
    from webapp.services.sources.first_start import ensure_defaults

    settings = loaded_settings()
    with create_app(settings, plane="none").app_context():
        database.upgrade(db.engine, revision, key=prepared().secret_key)
        if revision == "head":
            ensure_defaults(settings)


@database_group.command("downgrade")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Don't ask.")
def db_downgrade(revision: str, yes: bool) -> None:
    """Roll back migrations.

    \b
    Example:
      slipway db downgrade -1 --yes
    """
    from webapp import create_app, database
    from webapp.extensions import db
    from webapp.extensions import settings as prepared

    if not yes:
        output.confirm("Downgrading may delete data. Continue?")
    with create_app(loaded_settings(), plane="none").app_context():
        database.downgrade(db.engine, revision, key=prepared().secret_key)
