# SPDX-License-Identifier: Apache-2.0
"""``slipway status``: what is stored, what is running and what is wrong."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal

from webapp.cli import output
from webapp.cli.client import Api, talks


@click.command()
@talks
def status(api: Api, as_json: bool) -> None:
    """Tell what is stored, what is running and what is wrong.

    \b
    Examples:
      slipway status
      slipway status --json | jq -r '.images[] | [.name, .arch, .stored_version] | @tsv'
      slipway status --url http://lab:5240/ --token-file token
    """
    report = api.get("/status")
    if as_json:
        output.print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    """Print the overview; problems first, with their next steps."""
    screen = output.console()
    for problem in report["problems"]:
        screen.print(f"! {problem['what']}", style="red", soft_wrap=True)
        if problem["next_step"]:
            screen.print(f"  {problem['next_step']}", soft_wrap=True)
    output.print_table(
        ("Boot source", "State", "Last read"),
        (
            (
                row["url"],
                row["state"],
                output.time(row["refreshed_at"]),
            )
            for row in report["sources"]
        ),
    )
    output.print_table(
        ("Image", "Arch", "Stored", "Size", "Status"),
        (
            (
                row["name"],
                row["arch"],
                row["stored_version"] or "-",
                decimal(row["size"]),
                row["status"],
            )
            for row in report["images"]
        ),
    )
    free = f", {decimal(report['free_bytes'])} free" if report["free_bytes"] is not None else ""
    screen.print(f"Stored: {decimal(report['stored_bytes'])}{free}")
    _print_run(screen, report)


def _print_run(screen: Console, report: dict[str, Any]) -> None:
    run, last = report["run"], report["last_run"]
    if run and run["state"] == "queued":
        screen.print("Import: waits for the worker")
    elif run:
        screen.print(
            f"Import: {run['phase'] or 'starting'}, "
            f"{decimal(run['bytes_done'])} of {decimal(run['bytes_total'])}"
        )
    elif last:
        words = (
            f"Last import: {last['state']}, {output.time(last['finished_at'])}. {last['summary']}"
        )
        screen.print(words.strip(), soft_wrap=True)
        for failure in last["failures"]:
            name = " ".join(filter(None, (failure["image"], failure["architecture"])))
            screen.print(f"  {name or failure['source']}: {failure['what']}", soft_wrap=True)
    else:
        screen.print("Import: none so far")
