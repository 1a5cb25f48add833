# SPDX-License-Identifier: Apache-2.0
"""What commands print: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

# Nobody cuts a line in a pipe.
WIDE = 10_000


def console(*, err: bool = False) -> Console:
    """Values are printed as they are: no markup, no emoji, nothing guessed and coloured."""
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    return Console(
        markup=False,
        emoji=False,
        highlight=False,
        stderr=err,
        width=None if is_terminal else WIDE,
    )


def print_table(
    columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, empty: str = ""
) -> None:
    """A table as wide as it needs to be; ``empty`` says what to do when there is nothing."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    if not table.row_count and empty:
        click.echo(empty)
        return
    console().print(table)


def print_json(value: Any) -> None:
    """JSON, as the API gave it."""
    click.echo(json.dumps(value, indent=2))


def say(value: Any, as_json: bool, words: str) -> None:
    """JSON for a program, words for a person."""
    if as_json:
        print_json(value)
    else:
        click.echo(words)


def print_fields(pairs: Iterable[tuple[str, str]]) -> None:
    """One thing, a line for each of its values that is not empty."""
    print_table(("", ""), [pair for pair in pairs if pair[1]])


def size(count: int | None) -> str:
    """Bytes as people read them."""
    return "-" if count is None else decimal(count)


def time(at: str | None) -> str:
    """A time of the API as people read it."""
    if not at:
        return "never"
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar with bytes, speed and time left on a terminal; gives ``advance(done_bytes)``."""
    screen = console(err=True)
    if not screen.is_terminal:
        yield lambda done, total=None, words=None: None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=total or None)

        def advance(done: int, total: int | None = None, words: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=words)

        yield advance
