# SPDX-License-Identifier: Apache-2.0
"""How the region's database is opened and migrated to the latest schema."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    column,
    delete,
    event,
    insert,
    inspect,
    literal,
    make_url,
    select,
    table,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from webapp import sealing
from webapp.config import ROOT, Settings
from webapp.errors import Problem

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_TIMEOUT_MS = 15_000
CONNECT_TIMEOUT_S = 10
UNFINISHED = "restore.unfinished"  # in a data folder while a restore writes into it
# In a PostgreSQL database while a restore writes into it: which one.
RESTORING = Table("restore_unfinished", MetaData(), Column("number", String(32)))

_REPEAT = (
    "If no restore is running, repeat it with the same backup: it removes what is there and "
    "starts again."
)

_MIGRATED_BY = "database_migrated_by"  # setting: {"revision": …, "version": of Slipway}
_revision = table("alembic_version", column("version_num"))
_settings = table("setting", column("key"), column("value", JSON))


class DatabaseProblem(Problem):
    """The database is not there, or its schema is not the one that this code needs."""

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
    The file and its journals are readable by their owner only.
    """
    if engine.dialect.name != "sqlite":
        return
    file = engine.url.database

    @event.listens_for(engine, "do_connect")
    def _private(*_connecting: Any) -> None:
        if file and file != ":memory:":
            make_private(Path(file))

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


def make_private(path: Path) -> None:
    """Let only its owner read a SQLite database; creates an empty file when there is none.

    Never opens a file that exists: closing it would drop the locks that SQLite holds
    on it in this process. New journals get the mode of the database.
    """
    with suppress(OSError):  # SQLite's own attempt gives the better error
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        with suppress(OSError):
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)


def fold_journals(*urls: str) -> None:
    """Fold the journals of SQLite databases into them; called when a process ends.

    SQLite removes a journal when the last connection closes. Processes that were killed
    didn't close theirs, so this opens one and closes it. Leaves databases alone that
    other processes use, and never fails.
    """
    for url in urls:
        path = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite:///") and path.with_name(path.name + "-wal").exists():
            with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


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


def alembic_config(engine: Engine, key: str = "") -> Config:
    """Alembic's configuration without an ini file: everything is known here.

    key: the secret key, for migrations that encrypt or decrypt what is stored.
    """
    from alembic.config import Config  # late: only migrating needs it, every process starts here

    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = engine
    config.attributes["seal"] = partial(_with_key, sealing.seal, key)
    config.attributes["unseal"] = partial(_with_key, sealing.unseal, key)
    return config


def _with_key(work: Callable[[str, str], str], key: str, text: str) -> str:
    if not key:
        raise DatabaseProblem(
            "This migration needs the secret key.",
            expected="SLIPWAY_SECRET_KEY, or secret.key in the data folder",
            next_step="Run `slipway db upgrade`.",
        )
    return work(text, key)


def program_version() -> str:
    """The version of this Slipway; "unknown" when it isn't installed as a package."""
    try:
        return version("slipway")
    except PackageNotFoundError:
        return "unknown"


def upgrade(
    engine: Engine, revision: str = "head", *, key: str = "", is_restoring: bool = False
) -> None:
    """Run the migrations up to a revision; key: the secret key, see alembic_config.

    Notes which version of Slipway needed the latest one. Raises DatabaseProblem when the
    database is newer than this program, or a restore into it was interrupted.
    """
    from alembic import command

    if not is_restoring:
        _refuse_half_restored(engine)
    refuse_newer(engine)
    command.upgrade(alembic_config(engine, key), revision)
    if revision == "head":
        with engine.begin() as connection:
            _note_program(connection)


def downgrade(engine: Engine, revision: str, *, key: str = "") -> None:
    """Run the migrations down to a revision ("base" for none)."""
    from alembic import command

    command.downgrade(alembic_config(engine, key), revision)


def current_revision(connection: Connection) -> str:
    """The revision of a database; "" for an empty one."""
    if not inspect(connection).has_table(_revision.name):
        return ""
    return connection.scalar(select(_revision.c.version_num)) or ""


def revisions() -> list[str]:
    """The revisions that this program has, oldest first: their files are called after them."""
    files = (ROOT / "migrations" / "versions").glob("[0-9]*_*.py")
    return sorted(file.name.partition("_")[0] for file in files)


def knows(revision: str) -> bool:
    """Whether this program has the migration of a revision."""
    return revision in revisions()


def check_revision(engine: Engine) -> None:
    """Refuse to work on a database with another schema.

    Raises DatabaseProblem that names the command, or the version of Slipway, to fix it.
    """
    _refuse_half_restored(engine)
    refuse_newer(engine)
    head = revisions()[-1]
    with engine.connect() as connection:
        current = current_revision(connection)
    if current != head:
        raise DatabaseProblem(
            "The database isn't of the revision that this version of Slipway needs.",
            code="database-revision",
            where=engine.url.render_as_string(hide_password=True),
            expected=f"revision {head}",
            got=f"revision {current or 'none'}",
            next_step="Run `slipway db upgrade`.",
        )


def refuse_newer(engine: Engine) -> None:
    """Raise DatabaseProblem when a newer Slipway migrated the database; names its version."""
    with engine.connect() as connection:
        current = current_revision(connection)
        if not current or knows(current):
            return
        note = _program_note(connection)
    needed = str(note.get("version") or "")
    raise DatabaseProblem(
        "A newer version of Slipway has migrated this database.",
        code="database-revision",
        where=engine.url.render_as_string(hide_password=True),
        expected=f"a revision that Slipway {program_version()} knows",
        got=f"revision {current}" + (f" of Slipway {needed}" if needed else ""),
        next_step=f"Install Slipway {needed} or newer, or restore a backup from before the upgrade."
        if needed
        else "Install the newer version again, or restore a backup from before the upgrade.",
    )


def prepared(settings: Settings) -> Settings:
    """Settings whose data folder and secret key are there.

    Raises SettingsProblem, and DatabaseProblem when a restore into the folder is unfinished:
    then nothing is written.
    """
    refuse_unfinished(settings.data_dir)
    return settings.prepared()


def refuse_unfinished(data_dir: Path) -> None:
    """Raise DatabaseProblem when a restore into a data folder was interrupted."""
    if (data_dir / UNFINISHED).exists():
        raise DatabaseProblem(
            "A restore into this data folder is running or was interrupted.",
            code="restore-unfinished",
            where=str(data_dir),
            next_step=_REPEAT,
        )


def _refuse_half_restored(engine: Engine) -> None:
    """The same for a database, which another data folder may name as well."""
    with engine.connect() as connection:
        is_marked = inspect(connection).has_table(RESTORING.name)
    if is_marked:
        raise DatabaseProblem(
            "A restore into this database is running or was interrupted.",
            code="restore-unfinished",
            where=engine.url.render_as_string(hide_password=True),
            next_step=_REPEAT,
        )


def _program_note(connection: Connection) -> dict[str, Any]:
    if not inspect(connection).has_table(_settings.name):
        return {}
    query = select(_settings.c.value).where(_settings.c.key == _MIGRATED_BY)
    found = connection.scalar(query)
    return found if isinstance(found, dict) else {}


def _note_program(connection: Connection) -> None:
    """Keep the oldest version that knows the revision: what an older program asks for."""
    revision = current_revision(connection)
    if _program_note(connection).get("revision") == revision:
        return
    value = {"revision": revision, "version": program_version()}
    connection.execute(delete(_settings).where(_settings.c.key == _MIGRATED_BY))
    connection.execute(insert(_settings).values(key=_MIGRATED_BY, value=value))


def ping(engine: Engine) -> None:
    """Raise DatabaseProblem unless the database answers and has our schema."""
    try:
        check_revision(engine)
    except DBAPIError as error:
        raise _unusable(error) from None


def _unusable(error: DBAPIError) -> DatabaseProblem:
    return DatabaseProblem(
        "The database can't be used.",
        expected="a connection that can read and write",
        got=str(error.orig).strip().partition("\n")[0],
        next_step="Check SLIPWAY_DATABASE_URL, that the server is running, and the free space.",
    )


def as_problem(error: Exception) -> DatabaseProblem | None:
    """What a database or a migration refused, in words; None for any other error.

    Repeats the driver's own first line, which names hosts and files but never
    the password, and no statement or value of ours.
    """
    from alembic.util import CommandError

    if isinstance(error, CommandError):
        return DatabaseProblem(
            "The database can't be migrated to that revision.",
            code="database-revision",
            expected="a known revision",
            got=str(error),
            next_step="Name a revision of migrations/versions, `head`, or a step, e.g. `-1`.",
        )
    if isinstance(error, DBAPIError):
        return _unusable(error)
    return None
