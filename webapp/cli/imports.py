# SPDX-License-Identifier: Apache-2.0
"""``slipway import``: start, follow and stop."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, talks

_LOOK_S = 0.5


@click.group("import")
def import_group() -> None:
    """Import the selected images: start, follow, stop."""


@import_group.command("start")
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 when it failed.")
@talks
def start(wait: bool, api: Api, as_json: bool) -> None:
    """Start the import of all selected images; one that runs already goes on.

    The worker does the work: `slipway run`, or `slipway worker`, must be running.

    \b
    Examples:
      slipway import start
      slipway import start --wait && echo all there
    """
    run = api.call("POST", "/imports")
    if wait:
        _follow(api, run["id"], as_json)
        return
    if as_json:
        output.print_json(run)
    else:
        click.echo(f"Import {run['id']} is {run['state']}. Next: slipway import watch")


@import_group.command("watch")
@talks
def watch(api: Api, as_json: bool) -> None:
    """Follow the import that runs until its end; exit code 1 when it failed.

    \b
    Example:
      slipway import watch
    """
    current = api.get("/imports/current")
    if current["run"] is None:
        click.echo("No import is running.", err=True)
        return
    _follow(api, current["run"]["id"], as_json)


@import_group.command("stop")
@talks
def stop(api: Api, as_json: bool) -> None:
    """Stop the import that runs; what it fetched is kept for the next one.

    \b
    Example:
      slipway import stop
    """
    done = api.call("POST", "/imports/stop")
    if as_json:
        output.print_json(done)
    else:
        click.echo(done["message"])


@import_group.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many."
)
@talks
def list_runs(limit: int, api: Api, as_json: bool) -> None:
    """List imports, the newest first.

    \b
    Example:
      slipway import list
    """
    found = api.get("/imports", limit=limit)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("ID", "State", "Started by", "Began", "Fetched", "Summary"),
        [
            (
                str(run["id"]),
                run["state"],
                run["requested_by"] or run["trigger"],
                output.time(run["started_at"]),
                output.size(run["bytes_done"]),
                run["summary"],
            )
            for run in found["items"]
        ],
        empty="No import so far. Next: slipway import start",
    )


@import_group.command("show")
@click.argument("run_id", metavar="ID", type=int)
@talks
def show(run_id: int, api: Api, as_json: bool) -> None:
    """Show an import with its files and what failed.

    \b
    Example:
      slipway import show 3
    """
    run = api.get(f"/imports/{run_id}")
    if as_json:
        output.print_json(run)
        return
    click.echo(f"Import {run['id']}: {run['state']}. {run['summary']}".rstrip())
    output.print_table(
        ("Image", "Version", "File", "Size", "State"),
        [
            (image["title"], image["version"], file["filename"], output.size(file["size"]),
             file["state"])
            for image in run["images"]
            for file in image["files"]
        ],
    )  # fmt: skip
    _print_failures(run)


def _follow(api: Api, run_id: int, as_json: bool) -> None:
    run = api.get(f"/imports/{run_id}")
    with output.progress("Import", run["bytes_total"]) as advance:
        while run["is_active"]:
            phase = run["phase"] or "waits for the worker"
            advance(run["bytes_done"], run["bytes_total"] or None, phase.capitalize())
            time.sleep(_LOOK_S)
            run = api.get(f"/imports/{run_id}")
    if as_json:
        output.print_json(run)
    else:
        click.echo(f"Import {run['id']}: {run['state']}. {run['summary']}".rstrip())
        _print_failures(run)
    if run["state"] != "succeeded":
        sys.exit(1)


def _print_failures(run: dict[str, Any]) -> None:
    for failure in run["failures"]:
        words = " ".join(filter(None, (failure["title"], failure["what"], failure["next_step"])))
        click.echo(f"slipway: {words}", err=True)
