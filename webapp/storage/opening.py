# SPDX-License-Identifier: Apache-2.0
"""Which store the settings mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from webapp.storage.base import BlobStore
from webapp.storage.database import DatabaseStore
from webapp.storage.errors import StoreUnusable
from webapp.storage.filesystem import FilesystemStore


def open_store(
    kind: str, root: Path, engine: Engine, *, is_first_start: Callable[[], bool] = lambda: True
) -> BlobStore:
    """Open the store of a kind: ``filesystem`` (in ``root``) or ``database`` (in ``engine``).

    A folder that is not marked as ours is made ours at a first start only. As soon
    as the region's database names blobs, it is a StoreUnusable: an empty folder
    then means that a volume is not mounted.
    """
    if kind == "filesystem":
        store = FilesystemStore(root)
        store.prepare(create=store.is_marked or is_first_start())
        return store
    if kind == "database":
        return DatabaseStore(engine)
    raise StoreUnusable(
        "Unknown kind of store.",
        expected="filesystem or database",
        got=repr(kind)[:80],
        next_step="Set SLIPWAY_STORE to one of them.",
    )
