# SPDX-License-Identifier: Apache-2.0
"""``slipway events``, ``settings`` and ``doctor``: how the system is, and what is wrong."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, connect, talks, where
from webapp.cli.context import loaded_settings
from webapp.config import table

_LOOK_S = 2.0


@click.command("events")
@click.option("--kind", default="", help="Such as image.published, or source. for all of sources.")
@click.option("--actor", default="", help="Only what this user did.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many."
)
@click.option("--follow", is_flag=True, help="Go on with what happens from now on; Ctrl-C ends.")
@talks
def events(kind: str, actor: str, limit: int, follow: bool, api: Api, as_json: bool) -> None:
    """List what happened: who did what, what was imported, what machines fetched.

    \b
    Examples:
      slipway events --kind image.
      slipway events --follow
    """
    found = api.get("/events", kind=kind, actor=actor, limit=limit)
    if as_json and not follow:
        output.print_json(found)
        return
    if not found["items"] and not follow:
        click.echo("Nothing happened so far.")
    last = _print_events(found["items"], as_json)
    while follow:
        time.sleep(_LOOK_S)
        fresh = api.get("/events", kind=kind, actor=actor, limit=1000)["items"]
        last = _print_events([row for row in fresh if row["id"] > last], as_json) or last


def _print_events(rows: list[dict[str, Any]], as_json: bool) -> int:
    for row in reversed(rows):
        if as_json:
            click.echo(json.dumps(row))
        else:
            when = output.time(row["at"])
            click.echo(f"{when}  {row['kind']:24} {row['subject']} {row['actor']}".rstrip())
    return rows[0]["id"] if rows else 0


@click.group("settings", invoke_without_command=True)
@where
@click.pass_context
def settings_group(
    context: click.Context,
    url: str,
    token_file: Path | None,
    cacert: Path | None,
    as_json: bool,
) -> None:
    """Print every setting, its value and where it came from; secrets are masked.

    \b
    Examples:
      slipway settings
      slipway settings --json | jq -r '.[] | select(.origin != "default") | .name'
      slipway settings set boot_images_auto_import false
    """
    if context.invoked_subcommand is not None:
        return
    keys = ("name", "value", "origin", "help")
    if url:
        with ExitStack() as stack:
            found = connect(url, token_file, cacert, stack).get("/settings")["items"]
    else:
        # Also before there is a database: somebody may be looking for why.
        found = [dict(zip(keys, row, strict=True)) for row in table(loaded_settings())]
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("Setting", "Value", "From", "What it is"),
        [(s["name"], _shown(s["value"]), s["origin"], s["help"]) for s in found],
    )


@settings_group.command("live")
@talks
def live_settings(api: Api, as_json: bool) -> None:
    """Print the settings that can be changed while Slipway runs.

    \b
    Example:
      slipway settings live
    """
    found = [row for row in api.get("/settings")["items"] if row["is_runtime"]]
    if as_json:
        output.print_json(found)
        return
    rows = [(s["name"], _shown(s["value"]) or "-", s["help"]) for s in found]
    output.print_table(("Setting", "Value", "What it is"), rows)


@settings_group.command("set")
@click.argument("name")
@click.argument("value")
@talks
def set_setting(name: str, value: str, api: Api, as_json: bool) -> None:
    """Change a setting that can be changed while Slipway runs.

    \b
    Examples:
      slipway settings set boot_images_auto_import false
      slipway settings set http_proxy http://proxy.lab:3128/
    """
    found = api.call("PATCH", "/settings", {"values": {name: value}})["items"]
    row = next(s for s in found if s["name"] == name)
    if as_json:
        output.print_json(row)
    else:
        click.echo(f"{name} is {_shown(row['value']) or 'unset'} now.")


@click.command("doctor")
@talks
def doctor(api: Api, as_json: bool) -> None:
    """Look for what is wrong, and say what to do about it; exit code 1 when something is.

    \b
    Examples:
      slipway doctor
      slipway doctor --url http://lab:5240/ --json
    """
    found = api.get("/health")
    if as_json:
        output.print_json(found)
    else:
        for check in found["checks"]:
            click.echo(f"{check['severity']:5} {check['name']}: {check['found']}")
            if check["next_step"]:
                click.echo(f"      Next: {check['next_step']}")
    if not found["is_well"]:
        sys.exit(1)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
