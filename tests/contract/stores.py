# SPDX-License-Identifier: Apache-2.0
"""Real stores for the contract suite, and what a test may know about their insides."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, create_engine, func, or_, select, update

from webapp.database import prepare_engine
from webapp.storage import object_keys
from webapp.storage.base import BlobStore
from webapp.storage.bucket import Bucket, BucketOptions
from webapp.storage.claims import Claims
from webapp.storage.opening import open_store
from webapp.storage.rows import ROW
from webapp.storage.tables import blob_chunk, blob_store, storage_metadata
from webapp.storage.transactions import Transactions

MIB = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Bytes with their digest."""

    data: bytes
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.data).hexdigest())

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.data)


def make_blob(size: int, seed: int = 0) -> Blob:
    """The same bytes for the same size and seed, in every process."""
    return Blob(random.Random(f"{size} {seed}").randbytes(size))


@dataclass(frozen=True)
class Place:
    """Where a store lies: enough to open it again, in another process as well."""

    kind: str
    root: Path
    url: str
    bucket: BucketOptions | None = None

    def engine(self) -> Engine:
        """An engine as the region makes it."""
        engine = create_engine(self.url)
        prepare_engine(engine)
        return engine

    def open(self) -> BlobStore:
        """Open the store with an engine of its own."""
        return open_store(self.kind, self.root, self.engine(), bucket=self.bucket)


class Harness:
    """A store and what only a test does to it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.examples = 0
        self.engine = place.engine()
        if place.kind != "filesystem":
            storage_metadata.create_all(self.engine)
        self.store = open_store(place.kind, place.root, self.engine, bucket=place.bucket)

    @property
    def is_files(self) -> bool:
        """Whether blobs are files."""
        return self.place.kind == "filesystem"

    @property
    def is_postgres(self) -> bool:
        """Whether blobs are rows of a PostgreSQL server."""
        return self.place.kind == "database" and self.engine.dialect.name == "postgresql"

    @property
    def held_back(self) -> int:
        """Bytes that a kill may cost a writer."""
        if self.place.bucket:
            return self.place.bucket.part
        return 0 if self.is_files else ROW

    def is_enough(self) -> bool:
        """Whether more examples would only cost time: requests take longer than statements."""
        self.examples += 1
        return self.is_objects and self.examples > 8

    @property
    def is_objects(self) -> bool:
        """Whether blobs are objects of an S3 server."""
        return self.place.kind == "s3"

    @property
    def is_free_space_known(self) -> bool:
        """Whether the store can say how much fits in."""
        return not self.is_postgres and not self.is_objects

    @property
    def bucket(self) -> Bucket:
        """The bucket, past the store."""
        assert self.place.bucket is not None, "only where blobs are objects"
        return Bucket(self.place.bucket)

    def put(self, blob: Blob) -> None:
        """Store a blob."""
        with self.store.writer(blob.sha256, blob.size) as writer:
            writer.write(memoryview(blob.data)[writer.offset :])
            writer.commit()

    def get(self, blob: Blob) -> bytes:
        """Read a blob."""
        with self.store.open(blob.sha256) as reader:
            return b"".join(reader.chunks())

    def start(self, blob: Blob, received: int) -> None:
        """Leave a partial."""
        with self.store.writer(blob.sha256, blob.size) as writer:
            writer.write(blob.data[:received])

    def damage(self, blob: Blob, data: bytes) -> None:
        """Put other bytes behind a blob's name, past the store."""
        if self.is_files:
            (self.place.root / "sha256" / blob.sha256[:2] / blob.sha256).write_bytes(data)
            return
        if self.is_objects:
            self.bucket.ask("put_object", Key=object_keys.blob(blob.sha256), Body=data)
            return
        with self.engine.begin() as connection:
            blob_id = connection.scalar(
                select(blob_store.c.id).where(
                    blob_store.c.sha256 == blob.sha256, blob_store.c.state == "ready"
                )
            )
            connection.execute(
                update(blob_chunk)
                .where(blob_chunk.c.blob_id == blob_id, blob_chunk.c.start == 0)
                .values(data=data)
            )
            connection.execute(
                update(blob_store).where(blob_store.c.id == blob_id).values(size=len(data))
            )

    def leftovers(self) -> list[str]:
        """What lies in the store and is neither a blob nor a partial, nor in its place."""
        if self.is_objects:
            return self._foreign_objects()
        return self._foreign_files() if self.is_files else self._foreign_rows()

    def _foreign_files(self) -> list[str]:
        known = {"SLIPWAY-STORE"}
        known |= {f"sha256/{digest[:2]}/{digest}" for digest in self.store.digests()}
        known |= {f"partial/{partial.sha256}.part" for partial in self.store.partials()}
        known |= {f"incoming/{upload.sha256}.part" for upload in self.store.uploads()}
        root = self.place.root
        found = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
        return sorted(found - known)

    def _foreign_objects(self) -> list[str]:
        rows, uploads = Claims(Transactions(self.engine)).known()
        known = {self.bucket.key(object_keys.MARKER)}
        known |= {self.bucket.key(object_keys.blob(digest)) for digest in self.store.digests()}
        folders = tuple(self.bucket.key(object_keys.folder_of(row)) for row in rows)
        bucket = self.bucket
        found = {str(one["Key"]) for one in bucket.pages("list_objects_v2", "Contents", Prefix="")}
        foreign = [key for key in found - known if not key.startswith(folders)]
        begun = bucket.pages("list_multipart_uploads", "Uploads", Prefix="")
        foreign += [str(one["Key"]) for one in begun if one["UploadId"] not in uploads]
        held = select(blob_store.c.state).where(blob_store.c.owner != "")
        with self.engine.connect() as connection:
            return sorted(foreign) + [str(row) for row in connection.execute(held)]

    def _foreign_rows(self) -> list[str]:
        stored = (
            select(func.coalesce(func.sum(func.length(blob_chunk.c.data)), 0))
            .where(blob_chunk.c.blob_id == blob_store.c.id)
            .scalar_subquery()
        )
        wrong = select(blob_store.c.state, blob_store.c.owner, stored).where(
            or_(
                blob_store.c.state == "gone",
                blob_store.c.owner != "",
                blob_store.c.received != stored,
            )
        )
        lost = select(blob_chunk.c.start).where(
            blob_chunk.c.blob_id.not_in(select(blob_store.c.id))
        )
        with self.engine.connect() as connection:
            return [str(row) for query in (wrong, lost) for row in connection.execute(query)]
