# SPDX-License-Identifier: Apache-2.0
"""Boot sources as pages show them, and whether pages may manage them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from webapp.errors import Conflict
from webapp.extensions import db, settings
from webapp.models import BootSource, BootSourceCache, BootSourceSelection
from webapp.services.sources import announcing, health, naming, sources
from webapp.services.sources.announcing import Announcements
from webapp.services.sources.drafts import grouped
from webapp.services.sources.health import SourceHealth
from webapp.severity import Severity
from webapp.trust.keyrings import KeyInfo
from webapp.web.access import me
from webapp.web.states import State


@dataclass(frozen=True)
class SourceRow:
    """A source as pages show it; ``title`` is its name, or else its host and stream."""

    source: BootSource
    title: str
    health: SourceHealth
    products: int
    selections: int
    signer: str
    notices: list[dict[str, Any]]  # what its publisher announces to the visitor

    @property
    def state(self) -> State:
        """Its health as a state."""
        return State(self.health.severity, self.health.text)

    @property
    def announcement(self) -> str:
        """What a screen reader announces when the state changes."""
        return ": ".join(filter(None, (self.health.text, self.health.detail)))

    @property
    def keyring(self) -> str:
        """Where its keys come from."""
        if self.source.is_unsigned:
            return "Not required (unsigned source)"
        return self.source.keyring_filename or "Stored in the database"


@dataclass(frozen=True)
class KeyRow:
    """A key that may sign a source, as its page shows it."""

    key: KeyInfo

    @property
    def state(self) -> State:
        """Whether its signatures count."""
        if self.key.is_revoked:
            return State(Severity.ERROR, "Revoked")
        if self.key.is_expired:
            return State(Severity.ERROR, "Expired")
        return State(Severity.OK, "Valid")


def rows() -> list[SourceRow]:
    """Every source, the one that wins first."""
    counts, told = _counts(), announcing.told(me().user_id)
    return [_row(source, told, *counts) for source in sources.all_sources()]


def row_of(source: BootSource) -> SourceRow:
    """One source."""
    return _row(source, announcing.told(me().user_id), *_counts())


def is_managed() -> bool:
    """False in the seed's single-source mode when there is more than one source."""
    if not settings().single_source:
        return True
    return (db.session.scalar(select(func.count(BootSource.id))) or 0) <= 1


def require_managed() -> None:
    """Refuse a change from a page that is read-only."""
    if not is_managed():
        raise Conflict(
            "More than one boot source is configured, so these pages are read-only.",
            next_step="Remove all but one, use the REST API, or set SLIPWAY_SINGLE_SOURCE=off.",
        )


def _counts() -> tuple[dict[int, int], dict[int, int]]:
    products = db.session.execute(
        select(BootSourceCache.source_id, func.count()).group_by(BootSourceCache.source_id)
    )
    picked = db.session.execute(
        select(BootSourceSelection.source_id, func.count()).group_by(BootSourceSelection.source_id)
    )
    return {row[0]: row[1] for row in products}, {row[0]: row[1] for row in picked}


def _row(
    source: BootSource, told: Announcements, products: dict[int, int], picked: dict[int, int]
) -> SourceRow:
    notices = told.of(source)
    return SourceRow(
        source=source,
        title=naming.title_of(source),
        health=health.judge(source, announced=notices),
        products=products.get(source.id, 0),
        selections=picked.get(source.id, 0),
        signer=grouped(source.signer_fingerprint),
        notices=notices,
    )
