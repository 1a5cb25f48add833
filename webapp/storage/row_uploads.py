# SPDX-License-Identifier: Apache-2.0
"""An upload as rows: the same as a partial, except that its digest comes last."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select

from webapp.storage.errors import too_short, wrong_hash
from webapp.storage.rows import RowReader, RowWriter
from webapp.storage.running import RunningHash
from webapp.storage.tables import blob_chunk


class RowReceiver(RowWriter):
    """Append rows to the upload that ``owner`` has claimed; see base.BlobReceiver."""

    STATE = "incoming"
    _hash: RunningHash

    def cut(self, offset: int) -> None:
        """Remove rows, and shorten the one that reaches over the cut."""
        self.flush()
        if offset >= self._stored:
            return
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
        self._stored = offset
        self._hash.cut(offset)

    def settle(self) -> None:
        """Store what was gathered."""
        self.flush()
        self._hash.settle()

    def digest(self) -> str:
        """Hash what this process did not see."""
        self.flush()
        return self._hash.hexdigest(self._reader().chunks)

    def adopt(self, sha256: str) -> None:
        """Check, then take the place of a ready copy in one durable transaction."""
        self.flush()
        if self._stored != self.size:
            raise too_short(sha256, self.size, self._stored)
        found = self.digest()
        if found != sha256:
            raise wrong_hash(sha256, found)
        self._publish(sha256)
        self._hash.forget()

    def _take_in(self) -> None:
        self._hash = RunningHash(self.sha256)
        self._hash.resume(self._stored)

    def _reader(self) -> RowReader:
        return RowReader(self._database, self.sha256, self._id, self._stored)
