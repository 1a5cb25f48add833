# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL cluster for tests: on 127.0.0.1, in a temporary folder, not durable."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from tests.support.ports import HOST, keep_port

USER = "slipway"
OPTIONS = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "listen_addresses": HOST,
    "max_connections": "300",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
}


class NoPostgres(RuntimeError):
    """The server's programs are not on this machine."""


def programs() -> Path:
    """The folder of initdb and postgres; the newest version when there are several."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    if on_path:
        return Path(on_path).resolve().parent
    raise NoPostgres("PostgreSQL's server is missing. Next: deploy/install-packages.sh test")


class Cluster:
    """A running cluster; a context manager. It dies with the process that made it."""

    def __init__(self) -> None:
        self.bin = programs()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-pg-", dir="/tmp"))
        if os.geteuid() == 0:
            account = pwd.getpwnam(_account())
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        try:
            self._create()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        server = self.__dict__.pop("server", None)
        if server is not None:
            server.send_signal(signal.SIGINT)  # "fast": ends sessions, then stops
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """The address of a database, as SLIPWAY_DATABASE_URL takes it."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database as a copy of the template and return its address."""
        self._execute("CREATE DATABASE {} TEMPLATE {}", database, template)
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database together with the sessions that still use it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    @cached_property
    def version(self) -> str:
        """What the server calls itself."""
        with psycopg.connect(self.url("postgres")) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""

    def _execute(self, statement: str, *names: str) -> None:
        quoted = sql.SQL(statement).format(*(sql.Identifier(name) for name in names))
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(quoted)

    def _create(self) -> None:
        command = [str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", USER]
        command += ["-A", "trust", "-E", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            _as_account(command), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NoPostgres(f"initdb failed: {done.stderr.strip()[-500:]}")

    def _start(self) -> None:
        self.port = keep_port()
        command = [
            str(self.bin / "postgres"),
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
        ]
        command += [f"--{name}={value}" for name, value in OPTIONS.items()]
        command += [f"--unix_socket_directories={self.folder}"]
        log = self.folder / "log"
        with log.open("wb") as stream:
            self.server = subprocess.Popen(
                _as_account(command),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        ready = [str(self.bin / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port), "-t", "1"]
        for _ in range(600):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            try:
                self.server.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        raise NoPostgres(f"postgres did not start: {log.read_text()[-500:]}")


def _account() -> str:
    """Whose name the server runs under when the tests run as root, whom it refuses."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _as_account(command: Iterable[str]) -> list[str]:
    """The command under that account; it ends when the tests are killed."""
    prefix = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        name = _account()
        group = str(pwd.getpwnam(name).pw_gid)
        prefix += ["--reuid", name, "--regid", group, "--clear-groups"]
    return [*prefix, "--", *command]
