# SPDX-License-Identifier: Apache-2.0
"""Blobs in the region's own database, in rows of bounded size (SQLite, PostgreSQL)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine, select, update

from webapp.storage.base import (
    BlobStat,
    Check,
    Partial,
    checked_digest,
    checked_size,
    hash_of,
    no_check,
)
from webapp.storage.claims import Claims
from webapp.storage.errors import BlobMissing, StoreFull
from webapp.storage.leases import mark_ended
from webapp.storage.row_uploads import RowReceiver
from webapp.storage.rows import RowReader, RowWriter
from webapp.storage.tables import RowState, blob_store
from webapp.storage.transactions import Transactions

_PAGE = 1000  # digests in one query

W = TypeVar("W", RowWriter, RowReceiver)


class DatabaseStore:
    """Keeps each blob in rows of the tables in tables.py. See base.BlobStore."""

    def __init__(self, engine: Engine) -> None:
        self._database = Transactions(engine)
        self._claims = Claims(self._database)

    def check(self) -> None:
        """Take the write lock and give it back; see base.BlobStore."""
        with self._database.write() as connection:
            connection.execute(
                update(blob_store).where(blob_store.c.id == -1).values(owner=blob_store.c.owner)
            )
        if self._database.free_bytes() == 0:
            raise StoreFull(self._database.where, needed=1, free=0)
        self._database.sweep()

    def stat(self, sha256: str) -> BlobStat | None:
        """Size of a whole blob; see base.BlobStore."""
        found = self._ready(sha256)
        return BlobStat(sha256, found[1]) if found else None

    def writer(self, sha256: str, size: int, check: Check = no_check) -> RowWriter:
        """Start or resume a blob; see base.BlobStore."""
        return self._writer(partial(RowWriter, check=check), RowWriter.STATE, sha256, size)

    def open(self, sha256: str) -> RowReader:
        """Open a whole blob; see base.BlobStore."""
        found = self._ready(sha256)
        if not found:
            raise BlobMissing(sha256)
        blob_id, size = found
        return RowReader(self._database, sha256, blob_id, size)

    def delete(self, sha256: str) -> None:
        """Remove a whole blob; readers that are not through get BlobMissing."""
        with self._database.write() as connection:
            connection.execute(
                update(blob_store)
                .where(blob_store.c.sha256 == checked_digest(sha256))
                .where(blob_store.c.state == RowState.READY)
                .values(state=RowState.GONE)
            )
        self.sweep()

    def partials(self) -> Iterator[Partial]:
        """All unfinished blobs; see base.BlobStore."""
        return self._claims.unfinished(RowWriter.STATE)

    def drop_partial(self, sha256: str) -> None:
        """Remove a partial; see base.BlobStore."""
        self._drop(checked_digest(sha256), RowWriter.STATE)

    def receiver(self, token: str, size: int) -> RowReceiver:
        """Start or resume an upload; see base.BlobStore."""
        return self._writer(RowReceiver, RowReceiver.STATE, token, size)

    def open_upload(self, token: str) -> RowReader:
        """Read an upload; see base.BlobStore."""
        found = self._database.rows(
            select(blob_store.c.id, blob_store.c.received).where(
                blob_store.c.sha256 == checked_digest(token),
                blob_store.c.state == RowReceiver.STATE,
            )
        )
        if not found:
            raise BlobMissing(token)
        return RowReader(self._database, token, found[0].id, found[0].received)

    def uploads(self) -> Iterator[Partial]:
        """All uploads; see base.BlobStore."""
        return self._claims.unfinished(RowReceiver.STATE)

    def drop_upload(self, token: str) -> None:
        """Remove an upload; see base.BlobStore."""
        self._drop(checked_digest(token), RowReceiver.STATE)

    def digests(self) -> Iterator[str]:
        """The digests of all whole blobs; see base.BlobStore."""
        return (found.sha256 for found in self.stats())

    def stats(self) -> Iterator[BlobStat]:
        """All whole blobs; see base.BlobStore."""
        last = ""
        while True:
            page = self._database.rows(
                select(blob_store.c.sha256, blob_store.c.size)
                .where(blob_store.c.state == RowState.READY, blob_store.c.sha256 > last)
                .order_by(blob_store.c.sha256)
                .limit(_PAGE)
            )
            yield from (BlobStat(row.sha256, row.size) for row in page)
            if len(page) < _PAGE:
                return
            last = page[-1].sha256

    def free_bytes(self) -> int | None:
        """Room for more, None on PostgreSQL; see Transactions.free_bytes."""
        return self._database.free_bytes()

    def verify(self, sha256: str) -> bool:
        """Hash the rows; see base.BlobStore."""
        with self.open(sha256) as reader:
            return hash_of(reader) == sha256

    def relative_path(self, sha256: str) -> None:
        """There is no file."""
        return None

    def sweep(self) -> None:
        """Remove rows that were replaced or deleted; see base.BlobStore."""
        # What was to go is gone already. SQLite needs a little room even to free some;
        # the next sweep finds it.
        with suppress(StoreFull):
            self._database.sweep()

    def _ready(self, sha256: str) -> tuple[int, int] | None:
        found = self._database.rows(
            select(blob_store.c.id, blob_store.c.size).where(
                blob_store.c.sha256 == checked_digest(sha256), blob_store.c.state == RowState.READY
            )
        )
        return (found[0].id, found[0].size) if found else None

    def _writer(self, make: Callable[..., W], state: RowState, sha256: str, size: int) -> W:
        claim = self._claims.claim(
            checked_digest(sha256), checked_size(size), state, needed=size, drops_longer=True
        )
        try:
            return make(self._database, sha256, size, claim.id, claim.owner)
        except BaseException:
            mark_ended(claim.owner)
            raise

    def _drop(self, name: str, state: RowState) -> None:
        if self._claims.drop(name, state):
            self.sweep()
