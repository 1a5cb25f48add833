# SPDX-License-Identifier: Apache-2.0
"""Which store the settings mean."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from webapp.storage.base import BlobStore
from webapp.storage.database import DatabaseStore
from webapp.storage.errors import StoreUnusable
from webapp.storage.filesystem import FilesystemStore


def open_store(kind: str, root: Path, engine: Engine, *, create: bool = True) -> BlobStore:
    """Open the store of a kind: ``filesystem`` (in ``root``) or ``database`` (in ``engine``).

    With ``create`` a missing folder is made; without it is a StoreUnusable, which
    is right as soon as the region's database names blobs: an empty folder then
    means that a volume is not mounted, not that this is a first start.
    """
    if kind == "filesystem":
        store = FilesystemStore(root)
        store.prepare(create=create)
        return store
    if kind == "database":
        return DatabaseStore(engine)
    raise StoreUnusable(
        "There is no such kind of store.",
        expected="filesystem or database",
        got=repr(kind)[:80],
        next_step="Set SLIPWAY_STORE to one of them.",
    )
