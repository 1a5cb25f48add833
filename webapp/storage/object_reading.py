# SPDX-License-Identifier: Apache-2.0
"""Read objects by ranges, in bounded memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from webapp.storage.base import CHUNK, Closing, checked_range
from webapp.storage.bucket import TRIES, Bucket
from webapp.storage.bucket_problems import Refused, unranged
from webapp.storage.errors import BlobMissing, StoreProblem, StoreUnusable


@dataclass(frozen=True)
class Piece:
    """An object and which bytes of the whole it holds. etag: "" where it's unknown."""

    start: int
    size: int
    key: str
    etag: str = ""

    @property
    def stamp(self) -> int | None:
        """A number that changes when someone replaces the object; None where it has no ETag.

        An ETag says that an object was replaced, not which bytes it holds: servers differ in
        how they make it, so nothing is derived from it but this.
        """
        if not self.etag:
            return None
        return int.from_bytes(hashlib.sha256(self.etag.encode()).digest()[:8]) >> 1


class ObjectReader(Closing):
    """Read what one or more objects hold together; see base.BlobReader.

    address: makes a presigned address, None where there is none to be given.
    """

    def __init__(
        self,
        bucket: Bucket,
        name: str,
        pieces: list[Piece],
        address: Callable[[int], str] | None = None,
    ) -> None:
        self.size = pieces[-1].start + pieces[-1].size if pieces else 0
        self.mtime_ns = pieces[0].stamp if len(pieces) == 1 else None
        self._address = address
        self._bucket = bucket
        self._name = name
        self._pieces = pieces
        self._is_open = True

    def fileno(self) -> None:
        """There is no file."""
        return None

    def address(self, seconds: int) -> str | None:
        """A presigned URL; see base.BlobReader."""
        return self._address(seconds) if self._address else None

    def chunks(
        self, start: int = 0, stop: int | None = None, chunk: int = CHUNK
    ) -> Iterator[bytes]:
        """Yield a range; see base.BlobReader."""
        start, stop = checked_range(self.size, start, stop, chunk)
        return self._read(start, stop, chunk)

    def close(self) -> None:
        """Nothing is held."""
        self._is_open = False

    def _read(self, start: int, stop: int, chunk: int) -> Iterator[bytes]:
        for piece in self._pieces:
            first = max(start - piece.start, 0)
            last = min(stop - piece.start, piece.size)
            if first < last:
                yield from self._read_piece(piece, first, last, chunk)

    def _read_piece(self, piece: Piece, start: int, stop: int, chunk: int) -> Iterator[bytes]:
        """One request as a rule; another one from where the answer broke off."""
        broken = 0
        while start < stop:
            body = self._body(piece, start, stop)
            try:
                while start < stop:
                    if not self._is_open:
                        raise ValueError("the reader is closed")
                    data = self._some(body, min(chunk, stop - start))
                    if not data:
                        break
                    start, broken = start + len(data), 0
                    yield data
            finally:
                body.close()
            if start < stop:
                broken += 1
                if broken == TRIES:
                    raise self._broken(start, stop)

    def _body(self, piece: Piece, start: int, stop: int) -> Any:
        if not self._is_open:
            raise ValueError("the reader is closed")
        same: dict[str, Any] = {"IfMatch": piece.etag} if piece.etag else {}
        span = f"bytes={start}-{stop - 1}"
        try:
            answer = self._bucket.ask("get_object", Key=piece.key, Range=span, **same)
        except Refused:
            raise BlobMissing(self._name) from None
        try:
            self._demand_range(answer, piece, start, stop)
        except StoreProblem:
            answer["Body"].close()
            raise
        return answer["Body"]

    def _demand_range(self, answer: dict[str, Any], piece: Piece, start: int, stop: int) -> None:
        """Refuse other bytes than were asked for, and those of another object."""
        if piece.etag and answer.get("ETag", piece.etag) != piece.etag:
            raise BlobMissing(self._name)  # If-Match was ignored
        got = str(answer.get("ContentRange") or "")
        if not got and (start, answer.get("ContentLength")) == (0, piece.size):
            return  # all of it: what comes after ``stop`` isn't read
        match = re.fullmatch(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", got)
        if match is None or int(match[1]) != start:
            expected = f"Content-Range: bytes {start}-{stop - 1}/{piece.size}"
            raise unranged(self._bucket.options.where, expected, got or "none")
        if int(match[3]) != piece.size:
            raise BlobMissing(self._name)

    def _some(self, body: Any, size: int) -> bytes:
        """The next bytes of an answer; none when it broke off."""
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        try:
            return bytes(body.read(size))
        except (BotoCoreError, HTTPError, OSError):
            return b""

    def _broken(self, start: int, stop: int) -> StoreUnusable:
        return StoreUnusable(
            "The object storage broke off while bytes were read.",
            code="store-unreachable",
            where=self._bucket.options.where,
            expected=f"bytes up to {stop}",
            got=f"none after {start}, {TRIES} times",
            next_step="Check that it's running, and its log.",
        )
