# SPDX-License-Identifier: Apache-2.0
"""``slipway run``, ``web`` and ``worker``: the processes of Slipway; ``rack`` is in racks.py."""

from __future__ import annotations

import sys

import click

from webapp.cli.context import loaded_settings


@click.command()
@click.option(
    "--role",
    type=click.Choice(["all", "rack"]),
    default="all",
    help="all: a region with its own rack. rack: a rack that follows a region elsewhere.",
)
def run(role: str) -> None:
    """Start Slipway and keep it running until Ctrl-C.

    Migrates the database, then starts the pages and the REST API, the server that
    machines boot from, and the worker. With --role rack it starts only a server that
    machines boot from, without a database; see docs/racks.md.

    \b
    Examples:
      slipway run
      SLIPWAY_DATA_DIR=/srv/slipway SLIPWAY_WEB_BIND=127.0.0.1:5240 slipway run
      SLIPWAY_REGION_URL=http://10.0.0.2:5240 SLIPWAY_RACK_TOKEN=TOKEN slipway run --role rack
    """
    if role == "rack":
        from webapp.server.rack_role import supervise_rack

        sys.exit(supervise_rack(loaded_settings()))
    from webapp.server.supervisor import supervise

    sys.exit(supervise(loaded_settings()))


@click.command()
def web() -> None:
    """Run the pages and the REST API only (SLIPWAY_WEB_BIND)."""
    from webapp.server import planes

    planes.run_plane("web", loaded_settings())


@click.command()
def worker() -> None:
    """Run only the worker, which imports and cleans up."""
    from webapp import create_app, database
    from webapp.server import planes
    from webapp.server import worker as jobs

    settings = database.prepared(loaded_settings())
    planes.check(settings)
    sys.exit(jobs.run_worker(create_app(settings, plane="none")))
