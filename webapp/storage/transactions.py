# SPDX-License-Identifier: Apache-2.0
"""How the database store talks to SQLite and PostgreSQL: short transactions, errors in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    delete,
    event,
    exc,
    literal_column,
    select,
    text,
)

from webapp.storage.errors import StoreFull, StoreProblem, StoreUnusable, free_of
from webapp.storage.tables import RowState, blob_chunk, blob_store

# Rows removed in one transaction: enough to be quick, few enough to let others write.
SWEEP_ROWS = 16

_SQLITE_FULL = 13
_POSTGRES_FULL = "53100"


def _ask_for_binary(_connection: Connection, cursor: Any, *_rest: Any) -> None:
    # psycopg asks for text otherwise, and bytes as hex digits come at a fifth of the speed.
    cursor.format = 1


class Transactions:
    """Runs statements on one engine. No connection is held between two of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._is_sqlite = engine.dialect.name == "sqlite"
        if not self._is_sqlite:
            event.listen(self._single, "before_cursor_execute", _ask_for_binary)
        self.where = engine.url.render_as_string(hide_password=True)
        # The database's own clock: the machines that share it need not agree on theirs.
        self.now: ColumnElement[int] = literal_column(
            "CAST(strftime('%s', 'now') AS INTEGER)"
            if self._is_sqlite
            else "CAST(extract(epoch FROM now()) AS BIGINT)"
        )

    def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """The rows of one query, all at once."""
        with self._reporting(), self._single.connect() as connection:
            return connection.execute(query).all()

    @contextmanager
    def write(self, *, needed: int = 0) -> Iterator[Connection]:
        """One short transaction. It need not be on the disk before the next one.

        SQLite in WAL mode never waits in it; PostgreSQL is set not to. A power
        cut may take the last of them, from the end only, which for a partial
        means no more than a smaller offset.
        """
        with self._reporting(needed), self._engine.begin() as connection:
            if not self._is_sqlite:
                connection.execute(text("SET LOCAL synchronous_commit = off"))
            yield connection

    @contextmanager
    def write_durable(self, *, needed: int = 0) -> Iterator[Connection]:
        """One short transaction that is on the disk afterwards, and all before it as well."""
        if not self._is_sqlite:
            with self._reporting(needed), self._engine.begin() as connection:
                yield connection
            return
        with self._reporting(needed), self._engine.connect() as connection:
            usual = connection.execute(text("PRAGMA synchronous")).scalar_one()
            connection.execute(text("PRAGMA synchronous = FULL"))
            try:
                yield connection
                connection.commit()
                connection.execute(text(f"PRAGMA synchronous = {int(usual)}"))
            except BaseException:
                connection.invalidate()  # its settings may differ: never reuse it
                raise

    def free_bytes(self) -> int | None:
        """Room on SQLite's file system and in its file; None on PostgreSQL.

        SQLite keeps the pages of deleted blobs and fills them again. A PostgreSQL
        server's disk cannot be seen through SQL, least of all from another machine.
        """
        free = self._free_on_disk()
        if free is None:
            return None
        with self._reporting(), self._single.connect() as connection:
            pages = connection.execute(text("PRAGMA freelist_count")).scalar_one()
            page_size = connection.execute(text("PRAGMA page_size")).scalar_one()
        return free + int(pages) * int(page_size)

    def demand_room(self, room: int, needed: int) -> None:
        """Raise StoreFull (which names ``needed``) when so many bytes cannot be stored."""
        free = self._free_on_disk()
        if free is not None and room > free:
            free = self.free_bytes()  # asks SQLite, so only when it matters
        if free is not None and room > free:
            raise StoreFull(self.where, needed=needed, free=free)

    def sweep(self) -> None:
        """Remove the rows of all gone blobs, a batch in each transaction.

        It may be killed or run twice at a time; the next one finishes.
        """
        while gone := self.rows(select(blob_store.c.id).where(blob_store.c.state == RowState.GONE)):
            for (blob_id,) in gone:
                while self.drop_rows(blob_id):
                    pass
                with self.write() as connection:
                    connection.execute(delete(blob_store).where(blob_store.c.id == blob_id))

    def drop_rows(self, blob_id: int) -> int:
        """Remove one batch of a blob's rows, the last first; returns how many it was."""
        batch = (
            select(blob_chunk.c.start)
            .where(blob_chunk.c.blob_id == blob_id)
            .order_by(blob_chunk.c.start.desc())
            .limit(SWEEP_ROWS)
        )
        with self.write() as connection:
            return connection.execute(
                delete(blob_chunk).where(
                    blob_chunk.c.blob_id == blob_id, blob_chunk.c.start.in_(batch)
                )
            ).rowcount

    def _free_on_disk(self) -> int | None:
        path = self._engine.url.database
        if not self._is_sqlite or not path or path == ":memory:":
            return None
        return free_of(Path(path).parent)

    def _problem(self, error: exc.SQLAlchemyError, needed: int) -> StoreProblem:
        cause = getattr(error, "orig", None) or error
        if (
            getattr(cause, "sqlite_errorcode", None) == _SQLITE_FULL
            or getattr(cause, "sqlstate", None) == _POSTGRES_FULL
        ):
            return StoreFull(self.where, needed=needed, free=self._free_on_disk())
        # Only the first line: those after it may repeat the statement's values.
        return StoreUnusable(
            "The store's database can't be used.",
            where=self.where,
            expected="a writable database with the latest schema",
            got=(str(cause).splitlines() or [type(cause).__name__])[0][:300],
            next_step="Check that it is running and has free space, then run `slipway db upgrade`.",
        )

    @contextmanager
    def _reporting(self, needed: int = 0) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise self._problem(error, needed) from error.__cause__
