# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: run the migrations on the engine that webapp.database hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import MetaData, text

from webapp.models import Base
from webapp.models.base import UTCDateTime
from webapp.storage.tables import storage_metadata

TARGET: list[MetaData] = [Base.metadata, storage_metadata]


def render_item(kind: str, item: object, _context: object) -> str | bool:
    """Write our time type as what it is in the database: migrations import nothing of ours."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    """Migrate inside one transaction, with SQLite's foreign keys off meanwhile.

    Batch mode rebuilds tables; with foreign keys on, dropping the old parent
    would delete its children through ON DELETE CASCADE.
    """
    engine = context.config.attributes["engine"]
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if is_sqlite:
            connection.execute(text("PRAGMA foreign_keys=OFF"))
            connection.commit()
        context.configure(
            connection=connection,
            target_metadata=TARGET,
            render_as_batch=True,
            compare_type=True,
            render_item=render_item,
            transactional_ddl=True,
        )
        with context.begin_transaction():
            if is_sqlite:  # the driver begins none for DDL: a failed migration would stay half done
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            context.run_migrations()
            if is_sqlite:
                broken = connection.execute(text("PRAGMA foreign_key_check")).all()
                if broken:
                    raise RuntimeError(f"migration left dangling rows: {broken[:5]}")
        connection.commit()
        if is_sqlite:
            connection.execute(text("PRAGMA foreign_keys=ON"))
            connection.commit()


run()
