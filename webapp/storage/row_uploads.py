# SPDX-License-Identifier: Apache-2.0
"""An upload as rows: like a partial, except that its digest may come last."""

from __future__ import annotations

from webapp.storage.base import Closing
from webapp.storage.errors import too_short, wrong_hash
from webapp.storage.rows import GrowingRows
from webapp.storage.running import RunningHash
from webapp.storage.tables import RowState
from webapp.storage.transactions import Transactions


class RowReceiver(Closing):
    """Append rows to the upload that ``owner`` has claimed; see base.BlobReceiver."""

    STATE = RowState.INCOMING

    def __init__(
        self, database: Transactions, token: str, size: int, blob_id: int, owner: str
    ) -> None:
        self.size = size
        self._hash = RunningHash(token)
        self._rows = GrowingRows(database, token, size, blob_id, owner, self.STATE)
        self._hash.resume(self._rows.stored)

    @property
    def offset(self) -> int:
        """Bytes in rows and in the buffer."""
        return self._rows.offset

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; a whole row goes to the database without a copy, less is gathered."""
        for piece in self._rows.append(data):
            self._hash.update(piece)

    def cut(self, offset: int) -> None:
        """Remove what came after ``offset``."""
        self._rows.flush()
        if offset < self._rows.stored:
            self._rows.cut(offset)
            self._hash.cut(offset)

    def settle(self) -> None:
        """Store what was gathered."""
        self._rows.flush()
        self._hash.settle()

    def digest(self) -> str:
        """Hash what this process did not see."""
        self._rows.flush()
        return self._hash.hexdigest(self._rows.read)

    def adopt(self, sha256: str) -> None:
        """Check, then take the place of a ready copy in one durable transaction."""
        self._rows.flush()
        if self._rows.stored != self.size:
            raise too_short(sha256, self.size, self._rows.stored)
        found = self.digest()
        if found != sha256:
            raise wrong_hash(sha256, found)
        self._rows.publish(sha256)
        self._hash.forget()

    def close(self) -> None:
        """Keep what is there and let others write."""
        self._rows.close()
