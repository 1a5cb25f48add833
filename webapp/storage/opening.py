# SPDX-License-Identifier: Apache-2.0
"""Which store the settings mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine

from webapp.storage.base import BlobStore
from webapp.storage.bucket import BucketOptions
from webapp.storage.database import DatabaseStore
from webapp.storage.errors import StoreUnusable
from webapp.storage.filesystem import FilesystemStore
from webapp.storage.objects import ObjectStore


class BucketSettings(Protocol):
    """The settings of an object store."""

    @property
    def s3_endpoint(self) -> str: ...
    @property
    def s3_bucket(self) -> str: ...
    @property
    def s3_prefix(self) -> str: ...
    @property
    def s3_region(self) -> str: ...
    @property
    def s3_access_key(self) -> str: ...
    @property
    def s3_secret_key(self) -> str: ...
    @property
    def s3_ca(self) -> str: ...
    @property
    def s3_style(self) -> str: ...
    @property
    def s3_part_mb(self) -> int: ...
    @property
    def s3_redirect(self) -> bool: ...


def bucket_options(settings: BucketSettings) -> BucketOptions:
    """What the settings say of the object store."""
    return BucketOptions(
        endpoint=settings.s3_endpoint or f"https://s3.{settings.s3_region}.amazonaws.com",
        bucket=settings.s3_bucket,
        prefix=settings.s3_prefix,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        ca=settings.s3_ca,
        style=settings.s3_style,
        part=settings.s3_part_mb << 20,
        redirects=settings.s3_redirect,
    )


def open_store(
    kind: str,
    root: Path,
    engine: Engine,
    *,
    bucket: BucketOptions | None = None,
    is_first_start: Callable[[], bool] = lambda: True,
) -> BlobStore:
    """Open the store of a kind: ``filesystem`` (in ``root``), ``database`` (in ``engine``)
    or ``s3`` (in ``bucket``).

    A folder or bucket that is not marked as ours is made ours at a first start only. As soon
    as the region's database names blobs, it is a StoreUnusable: an empty folder
    then means that a volume is not mounted.
    """
    if kind == "filesystem":
        store = FilesystemStore(root)
        store.prepare(create=store.is_marked or is_first_start())
        return store
    if kind == "database":
        return DatabaseStore(engine)
    if kind == "s3":
        if bucket is None or not bucket.bucket:
            raise StoreUnusable(
                "The object store has no bucket.",
                expected="the name of a bucket",
                got="none",
                next_step="Set SLIPWAY_S3_BUCKET.",
            )
        objects = ObjectStore(bucket, engine)
        objects.prepare(create=is_first_start)
        return objects
    raise StoreUnusable(
        "Unknown kind of store.",
        expected="filesystem, database or s3",
        got=repr(kind)[:80],
        next_step="Set SLIPWAY_STORE to one of them.",
    )
