# SPDX-License-Identifier: Apache-2.0
"""How boot sources are doing, in words, and whether pages may manage them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import func, select

from webapp.errors import Conflict, Problem
from webapp.extensions import db, settings
from webapp.models import BootSource, BootSourceCache, BootSourceSelection
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import grouped


@dataclass(frozen=True)
class Health:
    """How a source is doing, in words; ``problem`` says what to do when it is not well."""

    level: str  # ok, warn, error, busy, off
    word: str
    detail: str = ""
    problem: Problem | None = None


@dataclass(frozen=True)
class SourceRow:
    """A source as pages show it; ``title`` is its name, or else its host."""

    source: BootSource
    title: str
    health: Health
    products: int
    selections: int
    signer: str


def health_of(source: BootSource) -> Health:
    """Judge a source by its last refresh; nothing of it is kept, so nothing gets stuck."""
    problem = refreshing.problem_of(source)
    if not source.is_enabled:
        return Health("off", "Off", "Nothing is imported from it until it is turned on.")
    if source.checked_at is None:
        return Health("busy", "Reading", "The worker reads its catalogue.")
    if problem is not None:
        return Health("error", "Not readable", problem.what, problem)
    age = source.index_updated_at and datetime.now(UTC) - source.index_updated_at
    if age and age > timedelta(days=settings().stale_days):
        detail = f"Its index is {age.days} days old. Is the mirror still updated?"
        return Health("warn", "Stale", detail)
    return Health("ok", "Good")


def rows() -> list[SourceRow]:
    """Every source, the one that wins first."""
    counts = _counts()
    return [_row(source, *counts) for source in sources.all_sources()]


def row_of(source: BootSource) -> SourceRow:
    """One source."""
    return _row(source, *_counts())


def title_of(source: BootSource) -> str:
    """What a source is called: its name, or else its host."""
    return source.name or urlsplit(source.url).netloc.rpartition("@")[2] or source.url


def is_managed() -> bool:
    """False in the seed's single-source mode when there is more than one source."""
    if not settings().single_source:
        return True
    return (db.session.scalar(select(func.count(BootSource.id))) or 0) <= 1


def require_managed() -> None:
    """Refuse a change from a page that manages nothing."""
    if not is_managed():
        raise Conflict(
            "There is more than one boot source, so pages manage nothing.",
            next_step="Use the REST API, or set SLIPWAY_SINGLE_SOURCE=off.",
        )


def _counts() -> tuple[dict[int, int], dict[int, int]]:
    products = db.session.execute(
        select(BootSourceCache.source_id, func.count()).group_by(BootSourceCache.source_id)
    )
    picked = db.session.execute(
        select(BootSourceSelection.source_id, func.count()).group_by(BootSourceSelection.source_id)
    )
    return {row[0]: row[1] for row in products}, {row[0]: row[1] for row in picked}


def _row(source: BootSource, products: dict[int, int], picked: dict[int, int]) -> SourceRow:
    return SourceRow(
        source=source,
        title=title_of(source),
        health=health_of(source),
        products=products.get(source.id, 0),
        selections=picked.get(source.id, 0),
        signer=grouped(source.signer_fingerprint),
    )
