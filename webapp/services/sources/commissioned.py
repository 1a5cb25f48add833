# SPDX-License-Identifier: Apache-2.0
"""Whether the commissioning release is selected, and the guard that keeps it so.

(rule: commissioning-release)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection, SelectionRule
from webapp.services.sources.ruling import Match
from webapp.services.system import live_settings
from webapp.services.system.live_settings import COMMISSIONING
from webapp.streams.filters import ANY


def release() -> str:
    """The Ubuntu release that machines are commissioned with, "" while there's none."""
    return str(live_settings.read(COMMISSIONING))


def covers(os: str, release: str, current: str) -> bool:
    """Whether a selection of this system and release has an Ubuntu release."""
    return os in ("ubuntu", "", ANY) and release in (current, ANY)


def is_selected(current: str, *, is_imported: bool = False) -> bool:
    """Whether a selection or a rule asks for an Ubuntu release.

    is_imported: selections of sources that are turned off don't count.
    """
    rows = select(BootSourceSelection.os, BootSourceSelection.release)
    if is_imported:
        rows = rows.join(BootSource, BootSource.id == BootSourceSelection.source_id).where(
            BootSource.is_enabled
        )
    if any(covers(*row, current) for row in db.session.execute(rows)):
        return True
    found = db.session.scalars(select(SelectionRule.found))
    matches = (Match.from_dict(one) for several in found for one in several)
    return any(one.is_wanted and covers(one.os, one.release, current) for one in matches)


@contextmanager
def kept() -> Iterator[None]:
    """Undo a change of selections or rules that lets the commissioning release go.

    The change is made inside, and committed afterwards. Raises Problem.
    """
    current = release()
    was_selected = bool(current) and is_selected(current)
    yield
    if was_selected and not is_selected(current):
        db.session.rollback()
        raise Problem(
            f"Machines are commissioned with ubuntu/{current}, so it must stay selected.",
            code="commissioning-release",
            where=f"ubuntu/{current}",
            expected="a selection of the commissioning release",
            got="none",
            next_step="Commission with another release first: "
            f"slipway setting set {COMMISSIONING} RELEASE.",
        )
