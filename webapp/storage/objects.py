# SPDX-License-Identifier: Apache-2.0
"""Blobs as objects of an S3 server, in the keys that object_keys.py describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Engine

from webapp.storage import object_keys as keys
from webapp.storage.base import (
    BlobStat,
    Check,
    Partial,
    checked_digest,
    checked_size,
    hash_of,
    no_check,
)
from webapp.storage.bucket import Bucket, BucketOptions
from webapp.storage.bucket_problems import Refused, altered, missing
from webapp.storage.claims import Claim, Claims
from webapp.storage.errors import BlobMissing, StoreProblem, StoreUnusable
from webapp.storage.object_parts import ObjectWriter
from webapp.storage.object_reading import ObjectReader, Piece
from webapp.storage.object_requests import abort, discard, put, remove
from webapp.storage.object_uploads import ObjectReceiver, pieces_of
from webapp.storage.tables import RowState
from webapp.storage.transactions import Transactions

# An upload that no row knows was begun by a process that was killed at that very moment.
ORPHAN_S = 86400


class ObjectStore:
    """Keeps each blob in an object; the region's database says who writes which. See
    base.BlobStore."""

    def __init__(self, options: BucketOptions, engine: Engine) -> None:
        self._bucket = Bucket(options)
        self._claims = Claims(Transactions(engine))

    def prepare(self, *, create: Callable[[], bool]) -> None:
        """Mark the prefix as ours where ``create`` allows it; refuses one that holds other objects.

        Raises StoreUnusable.
        """
        if self._is_marked():
            return
        if not create():
            raise missing(self._bucket.options.where, "none")
        listing = self._bucket.ask("list_objects_v2", Prefix="", MaxKeys=1)
        if listing.get("Contents"):
            raise StoreUnusable(
                "The bucket holds objects of something else.",
                code="store-foreign",
                where=self._bucket.options.where,
                expected=f"nothing below the prefix, or an object {keys.MARKER}",
                got=str(listing["Contents"][0]["Key"])[:200],
                next_step="Set SLIPWAY_S3_PREFIX to one that is free. If these are Slipway's "
                f"blobs, put an empty object {keys.MARKER} there.",
            )
        put(self._bucket, keys.MARKER, b"These objects belong to Slipway.\n", needed=0)

    def check(self) -> None:
        """Write, read and remove a small object, and sweep; see base.BlobStore."""
        self._demand_marker()
        probe = keys.new_probe()
        try:
            put(self._bucket, probe, keys.MARKER.encode(), needed=1)
            whole = Piece(0, len(keys.MARKER), probe)
            with ObjectReader(self._bucket, probe, [whole]) as reader:
                found = b"".join(reader.chunks())
        finally:
            with suppress(StoreProblem):
                remove(self._bucket, probe)
        if found != keys.MARKER.encode():
            raise altered(self._bucket.options.where)
        self.sweep()

    def sweep(self, orphan_s: int = ORPHAN_S) -> None:
        """Remove what killed processes left and no row knows; see base.BlobStore.

        orphan_s: how old uploads and probes have to be, which may be someone's yet.
        """
        # What is listed first and known afterwards was noted meanwhile.
        objects = list(self._bucket.pages("list_objects_v2", "Contents", Prefix=keys.PARTIALS))
        uploads = list(self._bucket.pages("list_multipart_uploads", "Uploads", Prefix=keys.BLOBS))
        if not objects and not uploads:
            return
        rows, noted = self._claims.known()
        before = datetime.now(UTC) - timedelta(seconds=orphan_s)
        for found in objects:
            name = self._name(str(found["Key"]))
            row = keys.row_of(name)
            is_old = orphan_s == 0 or found["LastModified"] < before
            if row not in rows if row is not None else keys.is_probe(name) and is_old:
                remove(self._bucket, name)
        for upload in uploads:
            name, number = self._name(str(upload["Key"])), str(upload["UploadId"])
            is_old = orphan_s == 0 or upload["Initiated"] < before
            if number not in noted and is_old and keys.digest_of(name):
                abort(self._bucket, name, number)

    def stat(self, sha256: str) -> BlobStat | None:
        """Size of a whole blob; see base.BlobStore."""
        found = self._head(sha256)
        return BlobStat(sha256, found.size, found.stamp) if found else None

    def writer(self, sha256: str, size: int, check: Check = no_check) -> ObjectWriter:
        """Start or resume a blob; see base.BlobStore. Its hash is kept: what is asked for is
        whether the server still has the parts."""
        claim = self._claims.claim(checked_digest(sha256), checked_size(size), RowState.S3_PARTIAL)
        return ObjectWriter(self._bucket, claim, sha256, size, check)

    def open(self, sha256: str) -> ObjectReader:
        """Open a whole blob; see base.BlobStore."""
        found = self._head(sha256)
        if found is None:
            raise BlobMissing(sha256)
        address = partial(self._bucket.presigned, found.key)
        is_redirecting = self._bucket.options.redirects
        return ObjectReader(self._bucket, sha256, [found], address if is_redirecting else None)

    def delete(self, sha256: str) -> None:
        """Remove a whole blob; readers that are not through get BlobMissing."""
        remove(self._bucket, keys.blob(sha256))

    def partials(self) -> Iterator[Partial]:
        """All unfinished blobs; see base.BlobStore."""
        return self._claims.unfinished(RowState.S3_PARTIAL)

    def drop_partial(self, sha256: str) -> None:
        """Remove a partial; see base.BlobStore."""
        claim = self._claims.existing(checked_digest(sha256), RowState.S3_PARTIAL)
        if claim is not None:
            self._discard(claim, keys.blob(sha256))

    def receiver(self, token: str, size: int) -> ObjectReceiver:
        """Start or resume an upload; see base.BlobStore."""
        claim = self._claims.claim(checked_digest(token), checked_size(size), RowState.S3_INCOMING)
        if claim.received > size:
            self._discard(claim, "")
            claim = self._claims.claim(token, size, RowState.S3_INCOMING)

        def writer(sha256: str) -> ObjectWriter:
            adopted = self._claims.claim(token, size, RowState.S3_ADOPTED)
            return ObjectWriter(self._bucket, adopted, sha256, size, no_check)

        return ObjectReceiver(self._bucket, claim, token, size, writer)

    def open_upload(self, token: str) -> ObjectReader:
        """Read an upload; see base.BlobStore."""
        received, notes = self._claims.view(checked_digest(token), RowState.S3_INCOMING)
        if received < 0:
            raise BlobMissing(token)
        return ObjectReader(self._bucket, token, pieces_of(notes, received))

    def uploads(self) -> Iterator[Partial]:
        """All uploads; see base.BlobStore."""
        return self._claims.unfinished(RowState.S3_INCOMING)

    def drop_upload(self, token: str) -> None:
        """Remove an upload; see base.BlobStore."""
        # In this order: nobody would find the copy of an upload that is gone.
        for state in (RowState.S3_ADOPTED, RowState.S3_INCOMING):
            claim = self._claims.existing(checked_digest(token), state)
            if claim is not None:
                self._discard(claim, "")

    def stats(self) -> Iterator[BlobStat]:
        """All whole blobs; see base.BlobStore."""
        self._demand_marker()
        for found in self._bucket.pages("list_objects_v2", "Contents", Prefix=keys.BLOBS):
            key = self._name(str(found["Key"]))
            sha256 = keys.digest_of(key)
            if sha256 is not None:
                size, etag = int(found["Size"]), str(found.get("ETag", ""))
                yield BlobStat(sha256, size, Piece(0, size, key, etag).stamp)

    def digests(self) -> Iterator[str]:
        """The digests of all whole blobs; see base.BlobStore."""
        return (found.sha256 for found in self.stats())

    def free_bytes(self) -> None:
        """An S3 server doesn't say."""
        return None

    def verify(self, sha256: str) -> bool:
        """Read and hash the object; see base.BlobStore."""
        with self.open(sha256) as reader:
            return hash_of(reader) == sha256

    def relative_path(self, sha256: str) -> None:
        """There is no file."""
        return None

    def _discard(self, claim: Claim, key: str) -> None:
        notes = dict(claim.notes()).get(0, {})
        upload = str(notes.get("upload", ""))
        try:
            discard(self._bucket, claim, str(notes.get("blob", key)), upload)
        except BaseException:
            claim.leave()
            raise

    def _head(self, sha256: str) -> Piece | None:
        key = keys.blob(sha256)
        try:
            found = self._bucket.ask("head_object", Key=key)
        except Refused:
            self._demand_marker()
            return None
        return Piece(0, int(found["ContentLength"]), key, str(found.get("ETag", "")))

    def _is_marked(self) -> bool:
        try:
            self._bucket.ask("head_object", Key=keys.MARKER)
        except Refused:
            return False
        return True

    def _demand_marker(self) -> None:
        """Tell "that blob is not there" from "the whole bucket is not there"."""
        if not self._is_marked():
            raise missing(self._bucket.options.where, "none")

    def _name(self, key: str) -> str:
        return key.removeprefix(self._bucket.key(""))
