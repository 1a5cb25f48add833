# SPDX-License-Identifier: Apache-2.0
"""Who fills which blob, in rows of the region's database, for bytes that lie elsewhere.

Object storage has no locks. The rows are those of the database store, in states of their
own (see tables.RowState), with the same leases.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row, delete, exc, insert, select, update

from webapp.storage.base import Partial
from webapp.storage.errors import BlobBusy, StoreProblem
from webapp.storage.leases import LEASE_S, is_dead, mark_ended, new_owner
from webapp.storage.tables import RowState, blob_chunk, blob_store
from webapp.storage.transactions import Transactions

OF_OBJECTS = (RowState.S3_PARTIAL, RowState.S3_INCOMING, RowState.S3_ADOPTED)
_TRIES = 3


class Claim:
    """A row that this process holds until ``leave`` or ``finish``."""

    def __init__(
        self, database: Transactions, row_id: int, name: str, owner: str, received: int
    ) -> None:
        self.id = row_id
        self.name = name
        self.received = received
        self._database = database
        self._owner = owner
        self._renewed = time.monotonic()

    def notes(self) -> list[tuple[int, dict[str, Any]]]:
        """What is kept with the row, ascending by start."""
        found = self._database.rows(
            select(blob_chunk.c.start, blob_chunk.c.data)
            .where(blob_chunk.c.blob_id == self.id)
            .order_by(blob_chunk.c.start)
        )
        return [(row.start, json.loads(bytes(row.data))) for row in found]

    def note(
        self, received: int, notes: dict[int, dict[str, Any]], *, drop_from: int | None = None
    ) -> None:
        """Change what was received and what is kept, in one transaction; renews the lease.

        drop_from: notes that begin there or later go first. Raises BlobBusy when the
        row isn't ours any longer.
        """
        here = blob_chunk.c.blob_id == self.id
        with self._database.write() as connection:
            self._change(connection, received=received)
            if drop_from is not None:
                connection.execute(delete(blob_chunk).where(here, blob_chunk.c.start >= drop_from))
            connection.execute(delete(blob_chunk).where(here, blob_chunk.c.start.in_(list(notes))))
            for start, content in notes.items():
                data = json.dumps(content).encode()
                connection.execute(
                    insert(blob_chunk), {"blob_id": self.id, "start": start, "data": data}
                )
        self.received = received
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Renew the lease when a part of it has passed."""
        if time.monotonic() - self._renewed > LEASE_S / 4:
            with self._database.write() as connection:
                self._change(connection)
            self._renewed = time.monotonic()

    def leave(self) -> None:
        """Let others go on with it."""
        try:
            with self._database.write() as connection:
                self._change(connection, owner="")
        except StoreProblem:
            mark_ended(self._owner)

    def finish(self) -> None:
        """Remove the row: nothing is left of what it described, or it's a blob now."""
        try:
            with self._database.write() as connection:
                self._change(connection)
                connection.execute(delete(blob_chunk).where(blob_chunk.c.blob_id == self.id))
                connection.execute(delete(blob_store).where(blob_store.c.id == self.id))
        except StoreProblem:
            mark_ended(self._owner)

    def _change(self, connection: Any, **values: Any) -> None:
        found = connection.execute(
            update(blob_store)
            .where(blob_store.c.id == self.id, blob_store.c.owner == self._owner)
            .values(touched_at=self._database.now, **values)
        )
        if found.rowcount != 1:
            raise BlobBusy(self.name)


class Claims:
    """Rows of blobs and uploads that aren't whole yet."""

    def __init__(self, engine: Engine) -> None:
        self._database = Transactions(engine)

    def claim(self, name: str, size: int, state: RowState) -> Claim:
        """Take the row of a digest or token, or make one. Raises BlobBusy."""
        owner = new_owner()
        try:
            for _ in range(_TRIES):
                claim = self._try(name, size, owner, state)
                if claim is not None:
                    return claim
            raise BlobBusy(name)
        except BaseException:
            mark_ended(owner)
            raise

    def existing(self, name: str, state: RowState) -> Claim | None:
        """Take a row to remove it; None when there is none. Raises BlobBusy."""
        row = self._free(name, state)
        if row is None:
            return None
        owner = new_owner()
        if not self._take(row, owner=owner):
            raise BlobBusy(name)
        return Claim(self._database, row.id, name, owner, row.received)

    def unfinished(self, state: RowState) -> Iterator[Partial]:
        """All rows of a state, ascending by name."""
        for row in self._database.rows(
            select(blob_store.c.sha256, blob_store.c.received, blob_store.c.touched_at)
            .where(blob_store.c.state == state)
            .order_by(blob_store.c.sha256)
        ):
            yield Partial(row.sha256, row.received, datetime.fromtimestamp(row.touched_at, UTC))

    def view(self, name: str, state: RowState) -> tuple[int, list[tuple[int, dict[str, Any]]]]:
        """How much a row has received, and its notes, without taking it; -1: no such row."""
        found = self._database.rows(
            select(blob_store.c.id, blob_store.c.received).where(
                blob_store.c.sha256 == name, blob_store.c.state == state
            )
        )
        if not found:
            return -1, []
        reading = Claim(self._database, found[0].id, name, "", found[0].received)
        return found[0].received, reading.notes()

    def known(self) -> tuple[set[int], set[str]]:
        """The numbers of all rows, and the multipart uploads that they note."""
        rows = self._database.rows(
            select(blob_store.c.id).where(blob_store.c.state.in_(OF_OBJECTS))
        )
        noted = self._database.rows(
            select(blob_chunk.c.data)
            .join(blob_store, blob_store.c.id == blob_chunk.c.blob_id)
            .where(blob_store.c.state.in_(OF_OBJECTS), blob_chunk.c.start == 0)
        )
        uploads = {str(json.loads(bytes(row.data)).get("upload", "")) for row in noted}
        return {row.id for row in rows}, uploads

    def _free(self, name: str, state: RowState) -> Row[Any] | None:
        age = (self._database.now - blob_store.c.touched_at).label("age")
        found = self._database.rows(
            select(blob_store, age).where(blob_store.c.sha256 == name, blob_store.c.state == state)
        )
        if not found:
            return None
        row = found[0]
        if row.owner and row.age < LEASE_S and not is_dead(row.owner):
            if row.age < 0:  # the clock was set back: the lease counts from now
                self._take(row, touched_at=self._database.now)
            raise BlobBusy(name)
        return row

    def _take(self, row: Row[Any], **values: Any) -> bool:
        with self._database.write() as connection:
            found = connection.execute(
                update(blob_store)
                .where(
                    blob_store.c.id == row.id,
                    blob_store.c.owner == row.owner,
                    blob_store.c.received == row.received,
                    blob_store.c.touched_at == row.touched_at,
                )
                .values(**{"touched_at": self._database.now, **values})
            )
        return bool(found.rowcount == 1)

    def _try(self, name: str, size: int, owner: str, state: RowState) -> Claim | None:
        row = self._free(name, state)
        if row is not None:
            if not self._take(row, owner=owner, size=size):
                return None
            return Claim(self._database, row.id, name, owner, row.received)
        row_id = secrets.randbits(63)
        values = {"id": row_id, "sha256": name, "size": size, "owner": owner, "state": state}
        with self._database.write() as connection:
            try:
                connection.execute(
                    insert(blob_store).values(received=0, touched_at=self._database.now, **values)
                )
            except exc.IntegrityError:
                connection.rollback()
                return None
            return Claim(self._database, row_id, name, owner, 0)
