# SPDX-License-Identifier: Apache-2.0
"""Who fills which blob or upload, in rows of the region's database.

The database store keeps its bytes with these rows. Object storage has no locks, so its store
has rows in states of their own (see tables.RowState), for bytes that lie elsewhere.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exc, insert, select, update

from webapp.storage.base import Partial
from webapp.storage.errors import BlobBusy, StoreProblem
from webapp.storage.leases import LEASE_S, is_dead, mark_ended, new_owner
from webapp.storage.tables import RowState, blob_chunk, blob_store
from webapp.storage.transactions import Transactions

OF_OBJECTS = (RowState.S3_PARTIAL, RowState.S3_INCOMING, RowState.S3_ADOPTED)

# If a row changes in the meantime, we try again: its owner was either faster, which shows
# now, or killed, and the server finished the last thing that it had sent.
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
        self.owner = owner
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
            mark_ended(self.owner)

    def finish(self) -> None:
        """Remove the row: nothing is left of what it described, or it's a blob now."""
        try:
            with self._database.write() as connection:
                self._change(connection)
                connection.execute(delete(blob_chunk).where(blob_chunk.c.blob_id == self.id))
                connection.execute(delete(blob_store).where(blob_store.c.id == self.id))
        except StoreProblem:
            mark_ended(self.owner)

    def _change(self, connection: Any, **values: Any) -> None:
        found = connection.execute(
            update(blob_store)
            .where(blob_store.c.id == self.id, blob_store.c.owner == self.owner)
            .values(touched_at=self._database.now, **values)
        )
        if found.rowcount != 1:
            raise BlobBusy(self.name)


class Claims:
    """Rows of blobs and uploads that aren't whole yet."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def claim(
        self, name: str, size: int, state: RowState, *, needed: int = 0, drops_longer: bool = False
    ) -> Claim:
        """Take the row of a digest or token, or make one. Raises BlobBusy, StoreFull.

        needed: bytes that have to fit into the database. drops_longer: a row with more than
        ``size`` bytes is gone, and a new one is made.
        """
        owner = new_owner()
        try:
            for _ in range(_TRIES):
                claim = self._try(name, size, owner, state, needed, drops_longer)
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
        self._demand(row, owner=owner)
        return Claim(self._database, row.id, name, owner, row.received)

    def drop(self, name: str, state: RowState) -> bool:
        """Let a row be gone with its bytes; False when there is none. Raises BlobBusy."""
        row = self._free(name, state)
        if row is not None:
            self._demand(row, state=RowState.GONE, owner="")
        return row is not None

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
                with self._database.write() as connection:
                    self._take(connection, row)
            raise BlobBusy(name)
        return row

    def _demand(self, row: Row[Any], **values: Any) -> None:
        with self._database.write() as connection:
            if not self._take(connection, row, **values):
                raise BlobBusy(row.sha256)

    def _take(self, connection: Connection, row: Row[Any], **values: Any) -> bool:
        """Change a row if it is still as it was seen."""
        found = connection.execute(
            update(blob_store)
            .where(
                blob_store.c.id == row.id,
                blob_store.c.state == row.state,
                blob_store.c.owner == row.owner,
                blob_store.c.received == row.received,
                blob_store.c.touched_at == row.touched_at,
            )
            .values(touched_at=self._database.now, **values)
        )
        return bool(found.rowcount == 1)

    def _try(
        self, name: str, size: int, owner: str, state: RowState, needed: int, drops_longer: bool
    ) -> Claim | None:
        """Make a row ours, or make a new one; None when another owner was faster."""
        row = self._free(name, state)
        with self._database.write(needed=needed) as connection:
            if row is not None:
                if row.received <= size or not drops_longer:
                    is_ours = self._take(connection, row, owner=owner, size=size)
                    found = Claim(self._database, row.id, name, owner, row.received)
                    return found if is_ours else None
                if not self._take(connection, row, state=RowState.GONE, owner=""):
                    return None
            row_id = secrets.randbits(63)
            values = {"id": row_id, "sha256": name, "size": size, "owner": owner, "state": state}
            try:
                connection.execute(
                    insert(blob_store).values(received=0, touched_at=self._database.now, **values)
                )
            except exc.IntegrityError:
                connection.rollback()
                return None
            return Claim(self._database, row_id, name, owner, 0)
