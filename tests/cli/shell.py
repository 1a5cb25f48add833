# SPDX-License-Identifier: Apache-2.0
"""Running `slipway` and reading what it printed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from tests.support.commands import OnTerminal, run
from tests.support.live import SLIPWAY

Done = subprocess.CompletedProcess[str]


@dataclass
class Shell:
    """Runs ``slipway`` with the variables of one test."""

    env: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __call__(self, *args: str | Path, stdin: str | bytes = "", **env: str) -> Done:
        """Run to the end."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = run(args, {**self.env, **env}, data, timeout=60)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def answered(self, answer: str, *args: str) -> tuple[int, str]:
        """The exit code of a command on a terminal where this is typed, and what was shown."""
        command, shown = OnTerminal(args, self.env), b""
        os.write(command.screen, answer.encode())
        with suppress(OSError):  # how a pseudo terminal says that its command has ended
            while part := os.read(command.screen, 1000):
                shown += part
        os.close(command.screen)
        return command.code(), shown.decode()

    def start(self, *args: str | Path) -> subprocess.Popen[bytes]:
        """Start and let run, as a shell with job control does."""
        process = subprocess.Popen(
            [SLIPWAY, *map(str, args)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process


def refused(done: Done) -> str:
    """The one sentence of a command that did not work."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("slipway: ")
    return lines[0].removeprefix("slipway: ")


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*names, name)
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
