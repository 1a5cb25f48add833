# SPDX-License-Identifier: Apache-2.0
"""One blob as rows: how it is written and read, a short transaction for each row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from webapp.storage.base import CHUNK, Check, Closing, checked_range
from webapp.storage.errors import (
    BlobBusy,
    BlobMissing,
    StoreProblem,
    too_long,
)
from webapp.storage.leases import LEASE_S, mark_ended
from webapp.storage.tables import RowState, blob_chunk, blob_store
from webapp.storage.transactions import Transactions
from webapp.storage.writing import HashingWriter

ROW = 1 << 20  # bytes in a row, the last of a writer apart


class GrowingRows:
    """Rows that grow while ``owner`` holds them, until one transaction makes them a blob.

    name: the digest or token that errors name. stored: bytes in rows; up to a row more
    is gathered in memory.
    """

    def __init__(
        self,
        database: Transactions,
        name: str,
        size: int,
        blob_id: int,
        owner: str,
        state: RowState,
    ) -> None:
        self.name = name
        self.size = size
        self.stored = 0
        self._database = database
        self._id = blob_id
        self._owner = owner
        self._state = state
        self._buffer = bytearray()
        self._is_open = True
        try:
            [row] = database.rows(select(blob_store.c.received).where(blob_store.c.id == blob_id))
            self.stored = row.received
            database.demand_room(size - self.stored, size - self.stored)
        except BaseException:
            self.close()
            raise

    @property
    def offset(self) -> int:
        """Bytes in rows and in the buffer."""
        return self.stored + len(self._buffer)

    def append(self, data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """Store the bytes, whole rows without a copy; yields each part that was accepted.

        Raises BlobMismatch before the first byte when they are too many.
        """
        self.demand_open()
        view = memoryview(data).cast("B")
        if len(view) > self.size - self.offset:
            raise too_long(self.name, self.size, self.offset + len(view))
        while view:
            if len(self._buffer) == ROW:
                self.flush()
            piece = view[: ROW - len(self._buffer)]
            if len(piece) == ROW:
                self._insert(piece)
            else:
                self._buffer += piece
            yield piece
            view = view[len(piece) :]

    def flush(self) -> None:
        """Store what was gathered, in a row that may be short."""
        self.demand_open()
        if self._buffer:
            self._insert(self._buffer)
            self._buffer = bytearray()

    def read(self, start: int = 0) -> Iterator[bytes]:
        """Yield what is stored, from ``start``; renews the lease meanwhile."""
        renewed = time.monotonic()
        for piece in RowReader(self._database, self.name, self._id, self.stored).chunks(start):
            yield piece
            if time.monotonic() - renewed > LEASE_S / 4:
                with self._database.write() as connection:
                    self._change(connection)
                renewed = time.monotonic()

    def cut(self, offset: int) -> None:
        """Remove rows, and shorten the one that reaches over the cut; nothing is gathered."""
        with self._database.write() as connection:
            self._change(connection, received=offset)
            here = blob_chunk.c.blob_id == self._id
            last = connection.execute(
                select(blob_chunk.c.start, blob_chunk.c.data)
                .where(here, blob_chunk.c.start < offset)
                .order_by(blob_chunk.c.start.desc())
                .limit(1)
            ).first()
            keep = None if last is None else bytes(last.data)[: offset - last.start]
            start = offset if last is None else last.start
            connection.execute(delete(blob_chunk).where(here, blob_chunk.c.start >= start))
            if keep:
                row: dict[str, Any] = {"blob_id": self._id, "start": start, "data": keep}
                connection.execute(insert(blob_chunk), row)
        self.stored = offset

    def publish(self, sha256: str) -> None:
        """Take the place of a ready copy in one durable transaction, and close."""
        with self._database.write_durable(needed=1) as connection:
            connection.execute(
                update(blob_store)
                .where(blob_store.c.sha256 == sha256, blob_store.c.state == RowState.READY)
                .values(state=RowState.GONE)
            )
            self._change(connection, state=RowState.READY, owner="", sha256=sha256)
        self._is_open = False
        with suppress(StoreProblem):  # it is committed; rows of an old copy can wait
            self._database.sweep()

    def close(self) -> None:
        """Store what was gathered and give the lease back.

        Closing happens on the way out of other trouble and must not hide it:
        what can't be stored now is fetched again.
        """
        if not self._is_open:
            return
        with suppress(StoreProblem):
            self.flush()
        if self.stored == 0:
            self.discard()
        else:
            self._leave()

    def discard(self) -> None:
        """Let the partial be gone, then remove its rows."""
        if not self._is_open:
            return
        self._leave(state=RowState.GONE)
        with suppress(StoreProblem):  # what is left here the next sweep takes
            self._database.sweep()

    def demand_open(self) -> None:
        """Raise ValueError once it is closed."""
        if not self._is_open:
            raise ValueError("the writer is closed")

    def _insert(self, data: memoryview | bytearray) -> None:
        missing = self.size - self.stored
        stored = self.stored + len(data)
        self._database.demand_room(len(data), missing)
        with self._database.write(needed=missing) as connection:
            self._change(connection, received=stored)
            connection.execute(
                insert(blob_chunk), {"blob_id": self._id, "start": self.stored, "data": data}
            )
        self.stored = stored

    def _change(self, connection: Connection, **values: Any) -> None:
        """Change our row, which renews the lease; BlobBusy when it isn't ours any longer.

        It comes first in its transaction, so that SQLite takes the write lock at
        once and the bytes are only sent when they are wanted.
        """
        found = connection.execute(
            update(blob_store)
            .where(
                blob_store.c.id == self._id,
                blob_store.c.owner == self._owner,
                blob_store.c.state == self._state,
                blob_store.c.received == self.stored,
            )
            .values(touched_at=self._database.now, **values)
        )
        if found.rowcount != 1:
            raise BlobBusy(self.name)

    def _leave(self, **values: Any) -> None:
        self._is_open = False
        try:
            with self._database.write() as connection:
                self._change(connection, owner="", **values)
        except StoreProblem:
            mark_ended(self._owner)


class RowWriter(HashingWriter):
    """Append rows to the partial that ``owner`` has claimed: a whole row goes without a copy."""

    STATE = RowState.PARTIAL

    def __init__(
        self,
        database: Transactions,
        sha256: str,
        size: int,
        blob_id: int,
        owner: str,
        check: Check,
    ) -> None:
        partial = GrowingRows(database, sha256, size, blob_id, owner, self.STATE)
        super().__init__(sha256, size, partial, check)


class RowReader(Closing):
    """Read a blob row by row, without a transaction in between; see base.BlobReader."""

    def __init__(self, database: Transactions, sha256: str, blob_id: int, size: int) -> None:
        self.size = size
        self.mtime_ns: int | None = None
        self._database = database
        self._sha256 = sha256
        self._id = blob_id
        self._is_open = True

    def fileno(self) -> None:
        """There is no file."""
        return None

    def address(self, seconds: int) -> None:
        """There is none."""
        return None

    def chunks(
        self, start: int = 0, stop: int | None = None, chunk: int = CHUNK
    ) -> Iterator[bytes]:
        """Yield a range; see base.BlobReader."""
        start, stop = checked_range(self.size, start, stop, chunk)
        return self._read(start, stop, chunk)

    def _read(self, start: int, stop: int, chunk: int) -> Iterator[bytes]:
        while start < stop:
            row_start, data = self._row_at(start)
            row_stop = min(stop, row_start + len(data))
            if row_stop <= start:
                raise BlobMissing(self._sha256)
            while start < row_stop:
                piece = data[start - row_start : min(start + chunk, row_stop) - row_start]
                yield piece
                start += len(piece)

    def _row_at(self, position: int) -> tuple[int, bytes]:
        """The row that begins at or before a position: its start and bytes."""
        if not self._is_open:
            raise ValueError("the reader is closed")
        found = self._database.rows(
            select(blob_chunk.c.start, blob_chunk.c.data)
            .where(blob_chunk.c.blob_id == self._id, blob_chunk.c.start <= position)
            .order_by(blob_chunk.c.start.desc())
            .limit(1)
        )
        if not found:
            raise BlobMissing(self._sha256)
        return found[0].start, found[0].data

    def close(self) -> None:
        """Nothing is held."""
        self._is_open = False
