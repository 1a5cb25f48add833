# SPDX-License-Identifier: Apache-2.0
"""How the region's database is opened and brought to its newest shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, column, event, inspect, literal, make_url, select, table
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from webapp.config import ROOT, Settings
from webapp.errors import Problem

BUSY_TIMEOUT_MS = 15_000
CONNECT_TIMEOUT_S = 10


class DatabaseProblem(Problem):
    """The database is not there, or not of the shape that this code needs."""

    code = "database"


def engine_options(settings: Settings, threads: int) -> dict[str, Any]:
    """Options for create_engine: one connection a thread, since threads wait otherwise."""
    if settings.database_url.startswith("sqlite"):
        return {"pool_size": threads, "max_overflow": 4}
    options: dict[str, Any] = {"pool_size": threads, "max_overflow": 4, "pool_pre_ping": True}
    if "connect_timeout" not in make_url(settings.database_url).query:
        # A host that drops packets is an error after seconds, not after the minutes of TCP.
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT_S}
    return options


def prepare_engine(engine: Engine) -> None:
    """Set what every SQLite connection needs; PostgreSQL needs nothing.

    WAL lets readers go on while one process writes. Foreign keys are off by
    default in SQLite. NORMAL loses at most the last commits in a power cut and
    corrupts nothing; a file whose row was lost is adopted again by its hash.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _pragmas(connection: DBAPIConnection, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "foreign_keys=ON",
            "synchronous=NORMAL",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def holds_blobs(engine: Engine) -> bool:
    """Whether images are known, which then lie in a store. Raises DBAPIError.

    Makes no database where there is none yet.
    """
    file = engine.url.database
    if engine.dialect.name == "sqlite" and (not file or not Path(file).is_file()):
        return False
    ready = select(literal(1)).select_from(table("blob")).where(column("state") == "ready")
    try:
        with engine.connect() as connection:
            has_table = inspect(connection).has_table("blob")
            return has_table and connection.scalar(ready.limit(1)) is not None
    finally:
        engine.dispose()  # asked before processes fork, which must not share a connection


def alembic_config(engine: Engine) -> Config:
    """Alembic's configuration without an ini file: everything is known here."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = engine
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run the migrations up to a revision."""
    command.upgrade(alembic_config(engine), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Run the migrations down to a revision ("base" for none)."""
    command.downgrade(alembic_config(engine), revision)


def check_revision(engine: Engine) -> None:
    """Refuse to work on a database of another shape.

    Raises DatabaseProblem that says which command mends it.
    """
    head = ScriptDirectory.from_config(alembic_config(engine)).get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != head:
        raise DatabaseProblem(
            "The database has another shape than this version of Slipway needs.",
            code="database-revision",
            where=engine.url.render_as_string(hide_password=True),
            expected=f"revision {head}",
            got=f"revision {current or 'none'}",
            next_step="Run `slipway db upgrade`.",
        )


def as_problem(error: Exception) -> DatabaseProblem | None:
    """What a database or a migration refused, in words; None for any other error.

    Repeats the driver's own first line, which names hosts and files but never
    the password, and no statement or value of ours.
    """
    if isinstance(error, CommandError):
        return DatabaseProblem(
            "The database cannot be brought to that shape.",
            code="database-revision",
            expected="a revision that is known here",
            got=str(error),
            next_step="Name a revision of migrations/versions, `head`, or a step such as `-1`.",
        )
    if isinstance(error, DBAPIError):
        return DatabaseProblem(
            "The database cannot be used.",
            expected="a connection that can read and write",
            got=str(error.orig).strip().partition("\n")[0],
            next_step="Check SLIPWAY_DATABASE_URL, that the server runs, and the free space.",
        )
    return None
