# SPDX-License-Identifier: Apache-2.0
"""Run gpg and gpgv: a private home per call, a time limit, no agent, no user configuration."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from webapp.trust.errors import GpgProblem

TIMEOUT_S = 60.0
_PREFIX = b"[GNUPG:] "
_OPTIONS = {
    # gpgv knows no configuration file and starts no agent.
    "gpgv": (),
    # gpg does both by default; --batch and --no-tty keep it from prompting.
    "gpg": ("--no-options", "--no-autostart", "--batch", "--no-tty"),
}


@dataclass(frozen=True)
class Status:
    """One machine-readable line of gpg: a keyword and what follows it."""

    keyword: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """The result of gpg or gpgv. Its log is written for users, so it is left out on purpose."""

    returncode: int
    output: bytes
    statuses: tuple[Status, ...]


@contextmanager
def private_home() -> Iterator[Path]:
    """Make a folder that only we can enter, and remove it with all that gpg left in it."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="slipway-gpg-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(error) from None
    with folder as name:
        yield Path(name)


def write_file(home: Path, name: str, data: bytes) -> str:
    """Put data into a private home and return the absolute path, fit for a command line."""
    path = home / name
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _no_room(error) from None
    return str(path)


def run(
    program: Literal["gpg", "gpgv"],
    *arguments: str,
    home: Path,
    stdin: bytes,
) -> Outcome:
    """Run one command to its end; every exit code is an Outcome, for the caller to judge.

    The status lines come through a descriptor of their own, so that nothing in
    a log line, a name or a text can be taken for one.
    Raises GpgProblem: gpg-missing, gpg-timeout, gpg-failed.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "GNUPGHOME": str(home),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    try:
        with (
            tempfile.TemporaryFile(dir=home) as status_file,
            # A pipe would be collected in pieces and joined, so in memory twice.
            tempfile.TemporaryFile(dir=home) as output_file,
        ):
            command = [program, *_OPTIONS[program], "--homedir", str(home)]
            command += ["--status-fd", str(status_file.fileno()), *arguments]
            done = subprocess.run(
                command,
                input=stdin,
                stdout=output_file,
                stderr=subprocess.DEVNULL,
                pass_fds=(status_file.fileno(),),
                env=environment,
                cwd=home,
                timeout=TIMEOUT_S,
                check=False,
            )
            status_file.seek(0)
            statuses = parse_statuses(status_file.read())
            output_file.seek(0)
            output = output_file.read()
    except FileNotFoundError:
        raise GpgProblem(
            f"{program} isn't installed, so signatures can't be checked.",
            code="gpg-missing",
            expected=f"{program} on the PATH",
            got="no such program",
            next_step="Install it with: sudo apt install gnupg gpgv",
        ) from None
    except subprocess.TimeoutExpired:
        raise GpgProblem(
            f"{program} took too long and was stopped.",
            code="gpg-timeout",
            expected=f"an answer within {TIMEOUT_S:g} seconds",
            got="none",
            next_step="Try again. If it persists, the document or the keyring is suspect.",
        ) from None
    except OSError as error:
        raise _failed(program, error.strerror or type(error).__name__) from None
    if done.returncode < 0:
        raise _failed(program, f"stopped by signal {-done.returncode}")
    return Outcome(done.returncode, output, statuses)


def parse_statuses(raw: bytes) -> tuple[Status, ...]:
    """Parse gpg's status lines.

    Only a line feed ends one: gpg escapes that in names, yet it passes on other
    characters at which ``str.splitlines`` would split, e.g. U+0085 and U+2028.
    """
    found = []
    for line in raw.split(b"\n"):
        if line.startswith(_PREFIX):
            keyword, *arguments = line[len(_PREFIX) :].decode("utf-8", "replace").split(" ")
            found.append(Status(keyword, tuple(arguments)))
    return tuple(found)


def _failed(program: str, got: str) -> GpgProblem:
    return GpgProblem(
        f"{program} failed.",
        expected="a working gpg and free space in the temporary folder",
        got=got,
        next_step="Check the free space of the temporary folder (TMPDIR), memory and limits.",
    )


def _no_room(error: OSError) -> GpgProblem:
    return _failed("gpg", error.strerror or type(error).__name__)
