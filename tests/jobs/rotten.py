# SPDX-License-Identifier: Apache-2.0
"""Damage stored bytes behind Slipway's back, in every way and in both stores."""

from __future__ import annotations

import os
from collections.abc import Callable

from sqlalchemy import delete, insert, select, update

from webapp.extensions import db, settings, store
from webapp.storage.tables import blob_chunk, blob_store

Damage = Callable[[bytes], bytes | None]

PAGE = 4096
# Kind of damage -> what becomes of the bytes; None deletes them. A swap is another file's bytes.
KINDS: dict[str, Damage] = {
    "flip": lambda data: data[:7] + bytes([data[7] ^ 1]) + data[8:],
    "truncate": lambda data: data[: len(data) // 2],
    "extend": lambda data: data + b"more",
    "delete": lambda data: None,
    "swap": lambda data: bytes(reversed(data)),
    "zero page": lambda data: bytes(min(PAGE, len(data))) + data[PAGE:],
}
RESIZING = {"truncate", "extend", "delete"}


def damage(sha256: str, kind: str, *, is_silent: bool = True) -> None:
    """Damage one blob. is_silent: the file's mtime stays, as when a disk rots."""
    if settings().store == "filesystem":
        _damage_file(sha256, KINDS[kind], is_silent)
    else:
        _damage_rows(sha256, KINDS[kind])


def _damage_file(sha256: str, change: Damage, is_silent: bool) -> None:
    path = settings().store_dir / str(store().relative_path(sha256))
    state = path.stat()
    data = change(path.read_bytes())
    if data is None:
        path.unlink()
        return
    path.chmod(0o640)
    path.write_bytes(data)
    moved = 0 if is_silent else 1_000_000_000
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + moved))


def _damage_rows(sha256: str, change: Damage) -> None:
    with db.engine.begin() as connection:
        where = (blob_store.c.sha256 == sha256, blob_store.c.state == "ready")
        blob_id = connection.scalar(select(blob_store.c.id).where(*where))
        of_blob = blob_chunk.c.blob_id == blob_id
        rows = connection.execute(
            select(blob_chunk.c.data).where(of_blob).order_by(blob_chunk.c.start)
        )
        data = change(b"".join(row.data for row in rows))
        connection.execute(delete(blob_chunk).where(of_blob))
        if data is None:
            connection.execute(update(blob_store).where(*where).values(state="gone"))
        elif data:
            connection.execute(insert(blob_chunk).values(blob_id=blob_id, start=0, data=data))
