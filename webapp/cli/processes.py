# SPDX-License-Identifier: Apache-2.0
"""``slipway run``, ``web`` and ``worker``: the processes of Slipway; ``rack`` is in racks.py."""

from __future__ import annotations

import sys

import click

from webapp.cli.context import loaded_settings


@click.command()
def run() -> None:
    """Start Slipway and keep it running until Ctrl-C.

    Migrates the database, then starts the pages and the REST API, the server that
    machines boot from, and the worker.

    \b
    Examples:
      slipway run
      SLIPWAY_DATA_DIR=/srv/slipway SLIPWAY_WEB_BIND=127.0.0.1:5240 slipway run
    """
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
