# SPDX-License-Identifier: Apache-2.0
"""``slipway event``, ``setting`` and ``completion``."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, connect, with_address, with_api
from webapp.cli.context import loaded_settings
from webapp.cli.groups import Group, line_for_dash
from webapp.config import table

_POLL_S = 2.0


@click.group("event", cls=Group, default="list", no_args_is_help=False)
def event_group() -> None:
    """List and follow events.

    \b
    Examples:
      slipway event --follow           is short for
      slipway event list --follow
    """


@event_group.command("list")
@click.option("--kind", default="", help="Kind, e.g. image.published; source. means all of them.")
@click.option("--actor", default="", help="User who did it.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="Maximum number to show.",
)
@click.option("--follow", is_flag=True, help="Follow new events until Ctrl-C.")
@with_api
def list_events(kind: str, actor: str, limit: int, follow: bool, api: Api, as_json: bool) -> None:
    """List who did what, what was imported and what machines fetched.

    \b
    Examples:
      slipway event list --kind image.
      slipway event list --follow
    """
    found = api.get("/events", kind=kind, actor=actor, limit=limit)
    if as_json and not follow:
        output.print_json(found)
        return
    if not found["items"] and not follow:
        output.line("No events yet.")
    last = _print_events(found["items"], as_json)
    while follow:
        time.sleep(_POLL_S)
        fresh = api.get("/events", kind=kind, actor=actor, limit=1000)["items"]
        last = _print_events([row for row in fresh if row["id"] > last], as_json) or last


def _print_events(rows: list[dict[str, Any]], as_json: bool) -> int:
    for row in reversed(rows):
        if as_json:
            output.print_json_line(row)
        else:
            when = output.time(row["at"])
            output.line(f"{when}  {row['kind']:24} {row['subject']} {row['actor']}".rstrip())
    return rows[0]["id"] if rows else 0


@click.group("setting", cls=Group, default="list", no_args_is_help=False)
def setting_group() -> None:
    """List and change settings.

    \b
    Examples:
      slipway setting --json           is short for
      slipway setting list --json
    """


@setting_group.command("list")
@with_address
def list_settings(url: str, token_file: Path | None, cacert: Path | None, as_json: bool) -> None:
    """List all settings and where their values come from.

    Secrets are masked.

    \b
    Examples:
      slipway setting list
      slipway setting list --json | jq -r '.[] | select(.origin != "default") | .name'
    """
    keys = ("name", "value", "origin", "help")
    if url:
        with ExitStack() as stack:
            found = connect(url, token_file, cacert, stack).get("/settings")["items"]
    else:
        # Works without a database, since a wrong setting may be why there is none.
        found = [dict(zip(keys, row, strict=True)) for row in table(loaded_settings())]
    output.listing(
        found,
        as_json,
        ("Setting", "Value", "Origin", "Description"),
        [(s["name"], _shown(s["value"]), s["origin"], s["help"]) for s in found],
    )


@setting_group.command("live")
@with_api
def live_settings(api: Api, as_json: bool) -> None:
    """List the settings that you can change while Slipway runs.

    \b
    Example:
      slipway setting live
    """
    found = [row for row in api.get("/settings")["items"] if row["is_runtime"]]
    if as_json:
        output.print_json(found)
        return
    rows = [(s["name"], _shown(s["value"]) or "-", s["help"]) for s in found]
    output.print_table(("Setting", "Value", "Description"), rows)


@setting_group.command("set")
@click.argument("name")
@click.argument("value", callback=line_for_dash)
@with_api
def set_setting(name: str, value: str, api: Api, as_json: bool) -> None:
    """Change a setting while Slipway runs.

    If VALUE is -, it's read from standard input, so it doesn't show in process lists.

    \b
    Examples:
      slipway setting set boot_images_auto_import false
      slipway setting set http_proxy http://proxy.lab:3128/
      slipway setting set http_proxy - < address.txt
    """
    found = api.call("PATCH", "/settings", {"values": {name: value}})["items"]
    row = next(s for s in found if s["name"] == name)
    output.result(row, as_json, f"{name}: {_shown(row['value']) or 'unset'}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the shell completion script.

    \b
    Examples:
      slipway completion bash > /etc/bash_completion.d/slipway
      slipway completion fish > ~/.config/fish/completions/slipway.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    root = context.find_root().command
    script = found(root, {}, "slipway", "_SLIPWAY_COMPLETE").source()
    output.print_bytes(f"{script}\n".encode())
