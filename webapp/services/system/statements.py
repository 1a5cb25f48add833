# SPDX-License-Identifier: Apache-2.0
"""Statements on many rows, as the services use them on both databases."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from webapp.extensions import db
from webapp.models import Base

CHUNK = 500  # values in one IN list
DEADLOCK = "40P01"  # PostgreSQL's code: it ended one of the transactions


def execute(statement: Any) -> CursorResult[Any]:
    """Run a statement that writes and leaves objects of the session as they are."""
    # Without the second one, PostgreSQL's answer to an INSERT has no row count.
    options = {"synchronize_session": False, "preserve_rowcount": True}
    return cast("CursorResult[Any]", db.session.execute(statement, execution_options=options))


def count(statement: Any) -> int:
    """Run a statement that writes and say how many rows it met."""
    return execute(statement).rowcount


def insert_new(model: type[Base]) -> Any:
    """An INSERT that leaves rows alone which are there already."""
    is_postgres = db.engine.dialect.name == "postgresql"
    if is_postgres:
        return postgresql.insert(model).on_conflict_do_nothing()
    return sqlite.insert(model).on_conflict_do_nothing()


def is_clash(error: Exception) -> bool:
    """Whether a database error comes from another transaction, so that trying again helps."""
    return not isinstance(error, OperationalError) or (
        getattr(error.orig, "sqlstate", None) == DEADLOCK
    )
