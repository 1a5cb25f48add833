# SPDX-License-Identifier: Apache-2.0
"""Copy the region's database while it is in use, as of one moment, without image bytes."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text

from webapp.errors import Problem
from webapp.services.backups import postgres

# Image bytes of the database store; a backup keeps them as members, as those of files.
WITHOUT = ("blob_store", "blob_chunk")
_BUSY_S = 15.0


@contextmanager
def copied(engine: Engine, file: Path) -> Iterator[Connection]:
    """Copy the database to a file; gives a connection that sees exactly what was copied.

    Writers don't wait for it. Raises Problem, OSError.
    """
    if engine.dialect.name == "sqlite":
        _copy_sqlite(Path(str(engine.url.database)), file)
        copy = create_engine(f"sqlite:///{file}")
        try:
            with copy.connect() as connection:
                yield connection
        finally:
            copy.dispose()
        return
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        postgres.dump(engine, file, str(snapshot), WITHOUT)
        yield connection


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy tables within one read transaction, which in WAL mode stops no writer."""
    try:
        with closing(sqlite3.connect(target, timeout=_BUSY_S, isolation_level=None)) as copy:
            copy.execute("ATTACH DATABASE ? AS region", (str(source),))
            copy.execute("BEGIN")
            schema = copy.execute(
                "SELECT type, name, sql FROM region.sqlite_master "
                "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type = 'table' DESC"
            ).fetchall()
            for kind, name, sql in schema:
                if kind == "table":
                    copy.execute(sql)
                    if name not in WITHOUT:
                        quoted = '"' + name.replace('"', '""') + '"'
                        copy.execute(f"INSERT INTO main.{quoted} SELECT * FROM region.{quoted}")  # noqa: S608
            for kind, _, sql in schema:
                if kind != "table":
                    copy.execute(sql)
            copy.execute("COMMIT")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        raise Problem(
            "The database can't be copied.",
            code="backup",
            where=str(source),
            got=str(error),
            next_step="Check the disk. If the database is damaged, restore an earlier backup.",
        ) from error
