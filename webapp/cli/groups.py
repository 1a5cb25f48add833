# SPDX-License-Identifier: Apache-2.0
"""Groups of commands: imported when they run, with whole help lines and former spellings."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

WHOLE = 1000  # longer than any first sentence, so click cuts none of them


@dataclass(frozen=True)
class Row:
    """One command of the top level.

    place: ``module:name`` below webapp.cli. help: the first sentence of the command's
    own help, so that ``slipway --help`` needn't import it. former: other spellings that work.
    """

    name: str
    place: str
    help: str
    former: tuple[str, ...] = ()


class Table(MutableMapping[str, click.Command]):
    """Commands by name, each imported on first use; former spellings come last."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self._rows = {row.name: row for row in rows}
        self._former = {name: row for row in rows for name in row.former}
        self._added: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name in self._added:
            return self._added[name]
        row = self._rows.get(name) or self._former[name]
        module, _, attribute = row.place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"webapp.cli.{module}"), attribute)
        return command if name in self._rows else hidden(command, name)

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._rows, *self._added, *self._former))

    def __len__(self) -> int:
        return len(self._rows) + len(self._added) + len(self._former)

    def shown(self) -> Iterator[tuple[str, str]]:
        """Name and help of each row that help lists, without importing anything."""
        return ((row.name, row.help) for row in self._rows.values() if row.help)


class Group(click.Group):
    """A group in its own order; ``default`` runs when the first word isn't a command."""

    def __init__(self, *args: Any, default: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.default = default

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the code, which is the order of use."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click; puts the default command first where none is named."""
        is_bare = not args and (ctx.resilient_parsing or self.no_args_is_help)
        is_named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        if self.default and not is_bare and not is_named:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with the whole first sentence of its help."""
        if rows := list(self._shown()):
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """See click; imports no command to name it."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=words)
            for name, words in self._shown()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _shown(self) -> Iterator[tuple[str, str]]:
        if isinstance(self.commands, Table):
            return self.commands.shown()
        return (
            (name, first_sentence(command))
            for name, command in self.commands.items()
            if not command.hidden
        )


def first_sentence(command: click.Command) -> str:
    """What a command does, whole and without its full stop."""
    return command.get_short_help_str(WHOLE).removesuffix(".")


def hidden(command: click.Command, name: str) -> click.Command:
    """The same command under a former name, which works and isn't listed."""
    other = copy.copy(command)
    other.name, other.hidden = name, True
    return other


def former(group: click.Group, name: str, command: click.Command) -> None:
    """Keep a former spelling of a command working."""
    group.add_command(hidden(command, name))


def line_for_dash(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """The first line of standard input for "-": an argument shows in the list of processes."""
    if value != "-":
        return value
    try:
        return sys.stdin.buffer.readline().decode().strip()
    except UnicodeDecodeError:
        raise click.BadParameter("standard input isn't UTF-8 text") from None
