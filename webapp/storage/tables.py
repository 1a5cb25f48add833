# SPDX-License-Identifier: Apache-2.0
"""The tables of the database store, apart from the region's models: the store is a leaf."""

from __future__ import annotations

import enum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    event,
    text,
)

storage_metadata = MetaData(
    naming_convention={
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class RowState(enum.StrEnum):
    """How far the bytes of a row of ``blob_store`` are."""

    PARTIAL = "partial"  # a blob that isn't whole yet
    INCOMING = "incoming"  # an upload, named by its token
    READY = "ready"  # whole and verified
    # Of the object store, whose bytes lie elsewhere (claims.py):
    S3_PARTIAL = "s3part"  # a blob that isn't whole yet
    S3_INCOMING = "s3in"  # an upload, named by its token
    S3_ADOPTED = "s3adopt"  # an upload on its way to its digest, named by its token
    GONE = "gone"  # replaced or deleted; its rows go in batches, so a digest can have several


_LIVE = text("state <> 'gone'")

blob_store = Table(
    "blob_store",
    storage_metadata,
    # Random and so never used twice: a reader of a deleted blob can then only find
    # nothing, never the rows of another one.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),  # of an incoming one its token
    Column("size", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),  # a RowState
    Column("received", BigInteger, nullable=False),
    Column("owner", String(160), nullable=False),  # "" while it has no writer
    Column("touched_at", BigInteger, nullable=False),  # Unix time by the database's clock
    Index(
        "uq_blob_store_sha256_state",
        "sha256",
        "state",
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    ),
)

blob_chunk = Table(
    "blob_chunk",
    storage_metadata,
    Column("blob_id", ForeignKey("blob_store.id", ondelete="CASCADE"), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

# Images are compressed already: trying again costs PostgreSQL half of its speed.
# Migrations run this after they created the table.
STORE_UNCOMPRESSED = "ALTER TABLE blob_chunk ALTER COLUMN data SET STORAGE EXTERNAL"


@event.listens_for(blob_chunk, "after_create")
def _tune(_table: Table, connection: Connection, **_options: Any) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(STORE_UNCOMPRESSED))
