# SPDX-License-Identifier: Apache-2.0
"""Bytes that machines fetched, by day in UTC: summed as they are counted, so few rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from webapp.extensions import db
from webapp.models import DayTraffic

WEEK = 7


@dataclass(frozen=True)
class Day:
    """A day in UTC, and the bytes that machines fetched on it."""

    day: date
    size: int


def add(connection: Connection, sizes: Mapping[date, int]) -> None:
    """Add bytes to days. The caller commits. Raises SQLAlchemyError."""
    # Always in one order, so that two who add don't wait for each other.
    rows = [{"day": day, "size": size} for day, size in sorted(sizes.items()) if size]
    if not rows:
        return
    is_postgres = connection.dialect.name == "postgresql"
    fresh = postgresql.insert(DayTraffic) if is_postgres else sqlite.insert(DayTraffic)
    more = DayTraffic.size + fresh.excluded.size
    statement = fresh.on_conflict_do_update(index_elements=["day"], set_={"size": more})
    connection.execute(statement, rows)


def week(today: date) -> list[Day]:
    """The last seven days, today last, in one query."""
    first = today - timedelta(days=WEEK - 1)
    rows = db.session.execute(
        select(DayTraffic.day, DayTraffic.size).where(DayTraffic.day.between(first, today))
    )
    sizes = {row.day: row.size for row in rows}
    days = (first + timedelta(days=number) for number in range(WEEK))
    return [Day(day, sizes.get(day, 0)) for day in days]
