# SPDX-License-Identifier: Apache-2.0
"""``slipway store``: what is stored, and whether it is still intact."""

from __future__ import annotations

import time
from typing import Any

import click

from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.cli.groups import Group
from webapp.numbers import counted

_POLL_S = 1.0


@click.group("store", cls=Group)
def store_group() -> None:
    """Show what is stored, and check it.

    \b
    Examples:
      slipway store show
      slipway store scrub --now
    """


@store_group.command("show")
@with_api
def show(api: Api, as_json: bool) -> None:
    """Show what the store holds and when it was last checked.

    \b
    Example:
      slipway store show --json
    """
    held = api.get("/store")
    if as_json:
        output.print_json(held)
        return
    free = held["free_bytes"]
    output.line(f"Stored: {counted(held['blobs'], 'file')}, {output.size(held['stored_bytes'])}")
    output.line(f"Unfinished: {counted(held['unfinished_files'], 'file')}")
    output.line(f"Free: {'unknown' if free is None else output.size(free)}")
    output.line(_words(held["scrub"]))


@store_group.command("scrub")
@click.option("--now", is_flag=True, help="Check every file now, and wait for the result.")
@click.option(
    "--rate", type=click.IntRange(0, 100_000), metavar="MIB", help="Limit in MiB/s; 0: none."
)
@with_api
def scrub(now: bool, rate: int | None, api: Api, as_json: bool) -> None:
    """Show the progress of the integrity check, or check all files now.

    The worker does the work. Exit code 1 if a file is damaged: it isn't served, and the
    next import replaces it.

    \b
    Examples:
      slipway store scrub
      slipway store scrub --now --rate 200
    """
    if rate is not None and not now:
        raise click.UsageError("--rate needs --now.")
    found = api.call("POST", "/store/scrub", {"rate": rate}) if now else api.get("/store")["scrub"]
    if now:
        found = _follow(api, found)
    output.result(found, as_json, _words(found))
    if found["damaged"]:
        raise click.exceptions.Exit(1)


def _follow(api: Api, found: dict[str, Any]) -> dict[str, Any]:
    left = "The check continues; to see how far it is: slipway store scrub"
    with output.interruptible(left), output.progress("Checking", found["bytes_total"]) as advance:
        while found["is_running"]:
            files = f"Checking {found['files_done']}/{found['files_total']} files"
            advance(found["bytes_done"], found["bytes_total"] or None, files)
            time.sleep(_POLL_S)
            found = api.get("/store")["scrub"]
    return found


def _words(found: dict[str, Any]) -> str:
    if found["damaged"]:
        return (
            f"{counted(found['damaged'], 'damaged file')}. Machines don't get damaged files. "
            "Next: slipway import start replaces them, or lists what to upload again."
        )
    if found["is_running"]:
        done, total = found["files_done"], found["files_total"]
        return f"Checking: {done} of {total} files, {output.size(found['bytes_done'])} read"
    if found["all_checked_since"]:
        return f"No damage found. All files checked since {output.time(found['all_checked_since'])}"
    return "Nothing is stored yet."
