# SPDX-License-Identifier: Apache-2.0
"""Migrated databases for tests: each engine is migrated once and then only copied."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor

from tests.support.postgres import Cluster

ENGINES = ("sqlite", "postgres")


def default_engine() -> str:
    """The database that tests run on, from the environment variable DB."""
    return os.environ.get("DB") or "sqlite"


class Databases(Protocol):
    """Where a test gets its databases from."""

    def empty(self) -> str:
        """The address of a database without tables."""

    def migrated(self) -> str:
        """The URL of a database with the latest schema, as after ``slipway db upgrade``."""

    def drop(self, url: str) -> None:
        """Remove what one of the two made."""


def migrate(url: str, data_dir: Path) -> None:
    """Migrate a database to the latest schema through the app itself."""
    from webapp import create_app, database
    from webapp.config import Settings
    from webapp.extensions import db
    from webapp.services.sources.first_start import ensure_defaults

    environ = {
        "SLIPWAY_DATA_DIR": str(data_dir),
        "SLIPWAY_DATABASE_URL": url,
        "SLIPWAY_DEFAULTS": "off",
        "SLIPWAY_LOG_LEVEL": "warning",
    }
    settings = Settings.load(environ)
    with create_app(settings, plane="none").app_context():
        database.upgrade(db.engine)
        ensure_defaults(settings)
        db.session.remove()
        db.engine.dispose()


class SQLiteDatabases:
    """Files below a folder; a copy of the migrated one takes a millisecond."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        self._template: Path | None = None

    def empty(self) -> str:
        """The address of a file that does not exist yet."""
        return f"sqlite:///{self._next()}"

    def migrated(self) -> str:
        """The address of a fresh copy."""
        if self._template is None:
            template = self._next()
            migrate(f"sqlite:///{template}", self.folder / "migrating")
            self._template = template
        target = self._next()
        shutil.copyfile(self._template, target)
        return f"sqlite:///{target}"

    def drop(self, url: str) -> None:
        """Remove the file with its journal."""
        path = Path(url.removeprefix("sqlite:///"))
        for leftover in path.parent.glob(path.name + "*"):
            leftover.unlink()

    def _next(self) -> Path:
        return self.folder / f"{next(self._numbers)}.db"


class PostgresDatabases:
    """Databases of one private cluster, made from a migrated template."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self._numbers = itertools.count()
        self._template = ""

    def empty(self) -> str:
        """The address of a new database."""
        return self.cluster.create(f"test{next(self._numbers)}")

    def migrated(self) -> str:
        """The address of a fresh copy."""
        if not self._template:
            migrate(self.cluster.create("migrated"), self.folder / "migrating")
            self._template = "migrated"
        return self.cluster.create(f"test{next(self._numbers)}", self._template)

    def drop(self, url: str) -> None:
        """Remove the database, whoever is still connected."""
        self.cluster.drop(url.rpartition("/")[2])


class Queries(list[str]):
    """The SQL that ran, in order; printing it shows one statement a line."""

    def __str__(self) -> str:
        return f"{len(self)} queries:\n" + "\n".join(" ".join(q.split()) for q in self)


@contextmanager
def counted() -> Iterator[Queries]:
    """Collect every statement that this thread runs meanwhile, with any engine.

    Other threads, e.g. one that notes what machines fetched, have times of their own.
    """
    queries, mine = Queries(), threading.get_ident()

    def note(_connection: object, _cursor: DBAPICursor, statement: str, *_rest: object) -> None:
        if threading.get_ident() == mine and not statement.startswith("PRAGMA"):
            queries.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield queries
    finally:
        event.remove(Engine, "before_cursor_execute", note)
