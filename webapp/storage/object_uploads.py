# SPDX-License-Identifier: Apache-2.0
"""An upload as objects, one for each part that was settled.

They can be read before the upload is whole, which parts of a multipart upload can't. Once its
digest is known, its bytes are copied to the digest's key like any blob that is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from webapp.storage import object_keys
from webapp.storage.base import Closing
from webapp.storage.bucket import Bucket
from webapp.storage.claims import Claim
from webapp.storage.errors import too_long, too_short, wrong_hash
from webapp.storage.object_parts import ObjectWriter
from webapp.storage.object_reading import ObjectReader, Piece
from webapp.storage.object_requests import discard, put, remove
from webapp.storage.running import RunningHash


class ObjectReceiver(Closing):
    """Append to a claimed upload; see base.BlobReceiver.

    writer: opens the blob that the upload becomes.
    """

    def __init__(
        self,
        bucket: Bucket,
        claim: Claim,
        token: str,
        size: int,
        writer: Callable[[str], ObjectWriter],
    ) -> None:
        self.size = size
        self._bucket = bucket
        self._claim = claim
        self._token = token
        self._writer = writer
        self._buffer = bytearray()
        self._is_open = True
        self._hash = RunningHash(token)
        try:
            self._pieces = pieces_of(claim.notes(), claim.received)
            self._hash.resume(claim.received)
        except BaseException:
            self._claim.leave()
            raise

    @property
    def offset(self) -> int:
        """Bytes in objects and in memory."""
        return self._claim.received + len(self._buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; a full part becomes an object."""
        self._demand_open()
        view = memoryview(data).cast("B")
        if len(view) > self.size - self.offset:
            raise too_long(self._token, self.size, self.offset + len(view))
        self._claim.renew()
        while view:
            if len(self._buffer) >= self._bucket.options.part:
                self._store()
            piece = view[: self._bucket.options.part - len(self._buffer)]
            self._buffer += piece
            self._hash.update(piece)
            view = view[len(piece) :]

    def cut(self, offset: int) -> None:
        """Remove what came after ``offset``, and shorten the object that reaches over it."""
        self._store()
        if offset >= self._claim.received:
            return
        keep = [piece for piece in self._pieces if piece.start + piece.size <= offset]
        gone = self._pieces[len(keep) :]
        notes = {}
        start = gone[0].start
        if start < offset:
            with ObjectReader(self._bucket, self._token, self._pieces) as reader:
                data = b"".join(reader.chunks(start, offset))
            short = self._put(start, data)
            keep.append(short)
            notes[start] = note_of(short)
        self._claim.note(offset, notes, drop_from=start)
        self._pieces = keep
        for piece in gone:
            remove(self._bucket, piece.key)
        self._hash.cut(offset)

    def settle(self) -> None:
        """Store what was gathered."""
        self._store()
        self._hash.settle()

    def digest(self) -> str:
        """Hash what this process did not see."""
        self._store()
        return self._hash.hexdigest(self._read_from)

    def adopt(self, sha256: str) -> None:
        """Check, then copy to the digest's key; goes on after a kill."""
        self._store()
        if self.offset != self.size:
            raise too_short(sha256, self.size, self.offset)
        found = self.digest()
        if found != sha256:
            raise wrong_hash(sha256, found)
        with self._writer(sha256) as writer:
            for data in self._read_from(writer.offset):
                writer.write(data)
            writer.commit()
        self._is_open = False
        discard(self._bucket, self._claim, "", "")
        self._hash.forget()

    def close(self) -> None:
        """Keep what is there and let others write."""
        if not self._is_open:
            return
        try:
            self._store()
        finally:
            self._is_open = False
            if self._claim.received:
                self._claim.leave()
            else:
                self._claim.finish()

    def _demand_open(self) -> None:
        if not self._is_open:
            raise ValueError("the writer is closed")

    def _read_from(self, start: int) -> Iterator[bytes]:
        with ObjectReader(self._bucket, self._token, self._pieces) as reader:
            for data in reader.chunks(start):
                yield data
                self._claim.renew()

    def _store(self) -> None:
        self._demand_open()
        if not self._buffer:
            return
        start = self._claim.received
        piece = self._put(start, self._buffer)
        self._claim.note(start + piece.size, {start: note_of(piece)})
        self._pieces.append(piece)
        self._buffer = bytearray()

    def _put(self, start: int, data: bytes | bytearray) -> Piece:
        key = object_keys.new_partial(self._claim.id)
        etag = put(self._bucket, key, data, needed=self.size - start)
        return Piece(start, len(data), key, etag)


def note_of(piece: Piece) -> dict[str, object]:
    """What the row notes of an object."""
    return {"key": piece.key, "size": piece.size, "etag": piece.etag}


def pieces_of(notes: list[tuple[int, dict[str, object]]], received: int) -> list[Piece]:
    """The objects of an upload, in order."""
    return [
        Piece(start, int(str(note["size"])), str(note["key"]), str(note.get("etag", "")))
        for start, note in notes
        if start < received and note.get("key")
    ]
