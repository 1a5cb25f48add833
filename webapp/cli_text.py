# SPDX-License-Identifier: Apache-2.0
"""What the command line prints for people: short tables, as wide as they need to be."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from webapp.services.status import Overview

# Nobody cuts a line in a pipe.
WIDE = 10_000


def print_settings(rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Print the table of settings."""
    _print_table(_console(), ("Setting", "Value", "From", "What it is"), rows)


def print_status(report: Overview) -> None:
    """Print the overview; problems first, with their next steps."""
    console = _console()
    for problem in report.problems:
        console.print(f"! {problem['what']}", style="red", soft_wrap=True)
        if problem["next_step"]:
            console.print(f"  {problem['next_step']}", soft_wrap=True)
    _print_table(
        console,
        ("Boot source", "State", "Last read"),
        (
            (
                row["url"],
                _source_state(row),
                _time(row["refreshed_at"]),
            )
            for row in report.sources
        ),
    )
    _print_table(
        console,
        ("Image", "Arch", "Stored", "Size", "Status"),
        (
            (
                row["name"],
                row["arch"],
                row["stored_version"] or "-",
                decimal(row["size"]),
                row["status"],
            )
            for row in report.images
        ),
    )
    free = f", {decimal(report.free_bytes)} free" if report.free_bytes is not None else ""
    console.print(f"Stored: {decimal(report.stored_bytes)}{free}")
    _print_run(console, report)


def _print_run(console: Console, report: Overview) -> None:
    run, last = report.run, report.last_run
    if run and run["state"] == "queued":
        console.print("Import: waits for the worker")
    elif run:
        console.print(
            f"Import: {run['phase'] or 'starting'}, "
            f"{decimal(run['bytes_done'])} of {decimal(run['bytes_total'])}"
        )
    elif last:
        words = f"Last import: {last['state']}, {_time(last['finished_at'])}. {last['summary']}"
        console.print(words.strip(), soft_wrap=True)
        for failure in last["failures"]:
            name = " ".join(filter(None, (failure["image"], failure["architecture"])))
            console.print(f"  {name or failure['source']}: {failure['what']}", soft_wrap=True)
    else:
        console.print("Import: none so far")


def _source_state(row: dict[str, Any]) -> str:
    if not row["enabled"]:
        return "off"
    return row["error"] or ("good" if row["refreshed_at"] else "not read yet")


def _print_table(
    console: Console, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> None:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _console() -> Console:
    """Values are printed as they are: no markup, no emoji, nothing guessed and coloured."""
    width = None if sys.stdout.isatty() else WIDE
    return Console(markup=False, emoji=False, highlight=False, width=width)


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "never"
