# SPDX-License-Identifier: Apache-2.0
"""A restore under way: it starts where nothing is, is marked until the end, and can be repeated.

    DATA_DIR/restore.unfinished/   the mark: with it no process of Slipway starts
        lock                       locked while a restore runs
        begun                      which restore this is; from then on all that's here is its own
        done                       what was restored; only the marks still have to go

A PostgreSQL database is marked by a table, which holds the number of the restore.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, insert, inspect, select

from webapp import database, durable
from webapp.errors import Problem
from webapp.services.backups import postgres

_IGNORED = {"lost+found"}  # in the root of a file system


@dataclass(frozen=True)
class Attempt:
    """One attempt at a restore. work: a private folder. done: the result, if only it was left."""

    work: Path
    number: str
    done: Mapping[str, Any] | None = None

    def complete(self, result: Mapping[str, Any]) -> None:
        """Note that everything is restored and on the disk."""
        _write(self.work / "done", result)


@contextmanager
def attempt(folder: Path, engine: Engine, backup: str, makes: frozenset[str]) -> Iterator[Attempt]:
    """Mark an empty data folder and an empty database as being restored into.

    backup: its digest. makes: what a restore makes in the folder. What an interrupted
    restore of the same backup left is removed first. What fails is removed, what is killed
    stays marked. Raises Problem.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    work = folder / database.UNFINISHED
    work.mkdir(mode=0o700, exist_ok=True)
    with _locked(work, folder):
        where = engine.url.render_as_string(hide_password=True)
        begun = _read(work / "begun")
        if begun is None:
            try:
                _refuse_filled(folder)
                _refuse_used(engine)
                begun = {"backup": backup, "database": where, "number": secrets.token_hex(16)}
                _write(work / "begun", begun)
            except BaseException:
                shutil.rmtree(work)
                raise
        _refuse_another(begun, {"backup": backup, "database": where}, folder)
        current = Attempt(work, begun["number"], _read(work / "done"))
        if current.done is None:
            _remove_earlier(folder, engine, current, makes)
            try:
                yield current
            except BaseException:
                _take_back(folder, engine)
                raise
        else:
            yield current
        _unmark(folder, engine, work)


@contextmanager
def _locked(work: Path, folder: Path) -> Iterator[None]:
    fd = os.open(work / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refused(
                "A restore into this data folder is running.",
                where=str(folder),
                next_step="Wait until it's complete.",
            ) from None
        yield
    finally:
        os.close(fd)


def _refuse_another(begun: Mapping[str, Any], wanted: Mapping[str, str], folder: Path) -> None:
    for name, what in (("backup", "another backup"), ("database", "another database")):
        if begun[name] != wanted[name]:
            raise refused(
                f"A restore of this data folder, with {what}, was interrupted.",
                where=str(folder),
                expected=begun["database"] if name == "database" else "the same backup as then",
                got=wanted["database"] if name == "database" else "another one",
                next_step="Repeat that restore, or choose another data folder and database.",
            )


def _refuse_filled(folder: Path, but: frozenset[str] = frozenset()) -> None:
    """Refuse a data folder with anything in it but our mark and these names."""
    others = {entry.name for entry in folder.iterdir()} - _IGNORED - but - {database.UNFINISHED}
    if others:
        raise refused(
            "The data folder isn't empty.",
            where=str(folder),
            expected="an empty folder",
            got=", ".join(sorted(others)[:5]),
            next_step="Set SLIPWAY_DATA_DIR to an empty folder, or move these files away.",
        )


def _refuse_used(engine: Engine) -> None:
    """Refuse a database that holds anything."""
    if engine.dialect.name == "sqlite":
        is_used = Path(str(engine.url.database)).exists()
    else:
        with engine.connect() as connection:
            is_used = bool(inspect(connection).get_table_names())
    if is_used:
        raise _used(engine)


def _used(engine: Engine) -> Problem:
    return refused(
        "The database isn't empty.",
        where=engine.url.render_as_string(hide_password=True),
        expected="an empty PostgreSQL database, or no SQLite file",
        next_step="Create another database, or remove this one if you don't need it.",
    )


def _remove_earlier(folder: Path, engine: Engine, current: Attempt, makes: frozenset[str]) -> None:
    """Remove what an interrupted attempt made, and mark the database."""
    names = {path.name for path in _database_files(engine) if path.parent == folder}
    _refuse_filled(folder, makes | names)  # someone else may have put something here
    if engine.dialect.name == "sqlite":
        _remove_database(engine)
    else:
        postgres.end_load(engine, current.number)
        mark = database.RESTORING
        with engine.begin() as connection:
            if inspect(connection).get_table_names():
                if not _is_marked(connection, current.number):
                    raise _used(engine)
                _drop_all(connection)
            mark.create(connection)
            connection.execute(insert(mark).values(number=current.number))
    _empty(folder, but={database.UNFINISHED})
    for entry in current.work.iterdir():
        if entry.name not in ("lock", "begun"):
            entry.unlink()


def _is_marked(connection: Connection, number: str) -> bool:
    if not inspect(connection).has_table(database.RESTORING.name):
        return False
    return connection.scalar(select(database.RESTORING.c.number)) == number


def _take_back(folder: Path, engine: Engine) -> None:
    """Remove what a failed restore made; the marks go last."""
    with suppress(Exception):  # what went wrong first is what counts
        if engine.dialect.name == "sqlite":
            _remove_database(engine)
        else:
            with engine.begin() as connection:
                _drop_all(connection)
        _empty(folder)


def _drop_all(connection: Connection) -> None:
    found = MetaData()
    found.reflect(connection)
    found.drop_all(connection)


def _unmark(folder: Path, engine: Engine, work: Path) -> None:
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            database.RESTORING.drop(connection, checkfirst=True)
    gone = folder / f"{database.UNFINISHED}.done"
    shutil.rmtree(gone, ignore_errors=True)
    os.rename(work, gone)  # at once, or half of it would be a mark that nothing explains
    durable.sync_folder(folder)
    shutil.rmtree(gone)


def _database_files(engine: Engine) -> list[Path]:
    """The SQLite file and its journals; none with PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return []
    path = Path(str(engine.url.database))
    return [path, *path.parent.glob(path.name + "-*")]


def _remove_database(engine: Engine) -> None:
    engine.dispose()
    for file in _database_files(engine):
        file.unlink(missing_ok=True)


def _empty(folder: Path, but: set[str] | None = None) -> None:
    """Remove everything; the mark goes last."""
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name == database.UNFINISHED)
    for entry in entries:
        if entry.name in _IGNORED | (but or set()):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    durable.write(path, json.dumps(dict(content)).encode(), mode=0o600)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def refused(
    what: str, *, where: str = "", expected: str = "", got: str = "", next_step: str
) -> Problem:
    """Why a restore doesn't start."""
    return Problem(
        what, code="restore", where=where, expected=expected, got=got, next_step=next_step
    )
