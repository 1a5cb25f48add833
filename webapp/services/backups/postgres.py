# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's own programs. Passwords reach them by their environment, never as arguments."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, text

from webapp import numbers
from webapp.config import MASK
from webapp.errors import Problem

_INSTALLED = Path("/usr/lib/postgresql")
_ENDS_WITHIN_S = 60.0


def dump(engine: Engine, file: Path, snapshot: str, without: tuple[str, ...]) -> None:
    """Write a database as of an exported snapshot to a file, in pg_dump's custom format.

    without: tables whose rows are left out. Raises Problem.
    """
    args = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
    args += [f"--exclude-table-data={name}" for name in without]
    _run("pg_dump", engine, *args, f"--file={file}")


def load(engine: Engine, file: Path, number: str) -> None:
    """Load a dump into an empty database, completely or not at all. Raises Problem.

    number: of this restore, for ``end_load``.
    """
    args = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    _run("pg_restore", engine, *args, str(file), session=_session_of(number))


def end_load(engine: Engine, number: str) -> None:
    """End a load that outlived the restore which started it. Raises Problem."""
    ours = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = :name"
    )
    deadline = time.monotonic() + _ENDS_WITHIN_S
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.execute(ours, {"name": _session_of(number)}).all():
            if time.monotonic() > deadline:
                raise Problem(
                    "The load of an interrupted restore is still running in the database.",
                    code="backup",
                    where=engine.url.render_as_string(hide_password=True),
                    next_step="Wait until pg_restore has ended, and try again.",
                )
            time.sleep(0.1)


def _session_of(number: str) -> str:
    return f"slipway restore {number}"


def program(name: str) -> str:
    """The path of a PostgreSQL program: the one on PATH, else the newest installed.

    Raises Problem that names the package.
    """
    found = shutil.which(name)
    if found:
        return found
    installed = [path for path in _INSTALLED.glob(f"*/bin/{name}") if numbers.whole(path.parts[-3])]
    if installed:
        return str(max(installed, key=lambda path: int(path.parts[-3])))
    raise Problem(
        f"{name} isn't installed.",
        code="backup",
        expected=f"{name} on PATH or below {_INSTALLED}",
        next_step="Install PostgreSQL's client programs: package postgresql-client on Debian and "
        "Ubuntu, postgresql on Fedora and RHEL, in the version of the server or newer.",
    )


def _run(name: str, engine: Engine, *args: str, session: str = "slipway backup") -> None:
    options = engine.url.translate_connect_args(username="user", database="dbname")
    options |= {key: ",".join(parts) for key, parts in engine.url.normalized_query.items()}
    options.pop("sslpassword", "")  # libpq takes it from nowhere but an argument
    password = str(options.pop("password", ""))
    environ = {**os.environ, **({"PGPASSWORD": password} if password else {}), "PGAPPNAME": session}
    command = [
        program(name),
        *args,
        "--no-password",
        f"--dbname={make_conninfo(**options)}",
    ]
    done = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-500:]
        raise Problem(
            f"{name} failed.",
            code="backup",
            where=engine.url.render_as_string(hide_password=True),
            got=" ".join((words.replace(password, MASK) if password else words).split()),
            next_step="Check that the server runs, that there is space, and that "
            f"{name} is at least as new as the server.",
        )
