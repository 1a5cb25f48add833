# SPDX-License-Identifier: Apache-2.0
"""Everything that commands print: results on stdout, progress and errors on stderr.

Text comes from mirrors, file names and other users, so each line passes ``visible``:
nothing that a terminal would act on gets through, in a pipe as little as on a screen.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import click

from webapp.errors import Problem
from webapp.escaping import visible

if TYPE_CHECKING:
    from rich.console import Console


class Unwritable(Problem):
    """Stdout doesn't take what a command prints."""

    code = "output"


# Wide enough that no line is cut in a pipe.
WIDE = 10_000


def line(text: str = "", *, err: bool = False, color: str | None = None) -> None:
    """One line, on stdout unless err."""
    with _writing(sys.stderr if err else sys.stdout):
        click.echo(click.style(visible(text), fg=color) if color else visible(text), err=err)


def lines(texts: Iterable[str]) -> None:
    """A line each, on stdout."""
    for text in texts:
        line(text)


def error(text: str) -> None:
    """One line on stderr that names the program; lost when stderr can't be written either."""
    with suppress(OSError):
        line(f"slipway: {text}", err=True)


def usage_error(problem: click.ClickException) -> None:
    """The error of click about a command line that it can't accept."""
    text = io.StringIO()
    problem.show(file=text)
    with suppress(OSError):
        for part in text.getvalue().splitlines():
            line(part, err=True)


def confirm(question: str, option: str = "--yes") -> None:
    """Ask on stderr; raises click.Abort unless the answer is yes.

    Raises Problem where no one answers, i.e. without a terminal and with --json; option: what
    answers instead.
    """
    context = click.get_current_context(silent=True)
    is_program = context is not None and context.params.get("as_json", False)
    if is_program or not is_terminal(sys.stdin):
        raise Problem(
            f"This needs a confirmation: {question}",
            next_step=f"Run the command again with {option}.",
        )
    click.confirm(visible(question), abort=True, err=True)


def ask(question: str) -> bool:
    """Ask for yes or no on stderr; yes is what Enter means."""
    return click.confirm(visible(question), default=True, err=True)


def ask_password() -> str:
    """Ask twice on stderr, without showing what is typed."""
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def print_bytes(content: bytes) -> None:
    """Bytes as they are in a pipe or file; visible text on a terminal."""
    if is_terminal(sys.stdout):
        lines(content.decode(errors="surrogateescape").splitlines())
    else:
        with _writing(sys.stdout):
            sys.stdout.buffer.write(content)


def print_table(
    columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, empty: str = ""
) -> None:
    """A table as wide as it needs to be; ``empty`` is printed when there are no rows."""
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(visible, row))
    if not table.row_count and empty:
        line(empty)
        return
    with _writing(sys.stdout):
        console().print(table)


def listing(
    found: Any,
    as_json: bool,
    columns: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    *,
    empty: str = "",
) -> None:
    """What was found: JSON for a program, a table for a person."""
    if as_json:
        print_json(found)
    else:
        print_table(columns, rows, empty=empty)


def print_fields(pairs: Iterable[tuple[str, str]]) -> None:
    """One thing, a line for each of its values that isn't empty."""
    print_table(("", ""), [pair for pair in pairs if pair[1]])


def print_json(value: Any) -> None:
    """JSON as the API returned it; ASCII, so it holds no control characters."""
    with _writing(sys.stdout):
        click.echo(json.dumps(value, indent=2))


def print_json_line(value: Any) -> None:
    """JSON on one line, for a stream of values."""
    with _writing(sys.stdout):
        click.echo(json.dumps(value))


def result(value: Any, as_json: bool, words: str) -> None:
    """JSON for a program, a line for a person."""
    if as_json:
        print_json(value)
    else:
        line(words)


def size(count: int | None) -> str:
    """A number of bytes as users read it."""
    from rich.filesize import decimal

    return "-" if count is None else decimal(count)


def speed(bytes_per_s: int) -> str:
    """Bytes a second as users read them, "-" for none."""
    return f"{size(bytes_per_s)}/s" if bytes_per_s else "-"


def time(at: str | None) -> str:
    """A time of the API as users read it."""
    if not at:
        return "never"
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written there; a closed stream is None."""
    return stream is not None and stream.isatty()


def console(*, err: bool = False) -> Console:
    """Prints values as they are: no markup, no emoji, no guessed colours."""
    from rich.console import Console

    return Console(
        markup=False,
        emoji=False,
        highlight=False,
        stderr=err,
        width=None if is_terminal(sys.stderr if err else sys.stdout) else WIDE,
    )


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar with bytes, speed and time left on a terminal.

    Gives ``advance(done_bytes, total_bytes=None, words=None)``. When all bytes are there
    and the work continues, the bar moves without a percentage.
    """
    if not is_terminal(sys.stderr):
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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console(err=True),
        transient=True,
    ) as bar:
        task = bar.add_task(visible(what), total=total or None)

        def advance(done: int, total: int | None = None, words: str | None = None) -> None:
            shown = None if words is None else visible(words)
            bar.update(task, completed=done, total=total, description=shown)
            if total is not None and done >= total:
                bar.tasks[0].total = None

        yield advance


@contextmanager
def interruptible(next_step: str) -> Iterator[None]:
    """Say what Ctrl-C leaves behind and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.Abort(f"interrupted. {next_step}") from None


def accept_any_text() -> None:
    """Print escapes for characters that the locale doesn't have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """Write out what is buffered; the exit code, 1 if stdout didn't take all of it."""
    if sys.stdout is None:
        return code
    try:
        with _writing(sys.stdout):
            sys.stdout.flush()
    except Unwritable as problem:
        error(str(problem))
        return 1
    return code


def is_writable() -> bool:
    """Whether stdout takes what is buffered; what a failed write left there fails again."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


@contextmanager
def _writing(stream: TextIO | None) -> Iterator[None]:
    """Raises Unwritable for a full disk and the like; click ends quietly for a closed pipe."""
    try:
        yield
    except OSError as failed:
        if stream is None or stream is not sys.stdout or failed.errno == errno.EPIPE:
            raise
        # The interpreter writes out its buffers once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        reason = failed.strerror or type(failed).__name__
        raise Unwritable(f"The output couldn't be written: {reason}.") from None
