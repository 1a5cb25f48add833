# SPDX-License-Identifier: Apache-2.0
"""The queue of import runs: at most one waits behind the one at work. The caller commits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import case, exists, literal, null, select, update

from webapp.extensions import db
from webapp.models import ACTIVE_STATES, HOLD_WINDOW, ImportRun, RunState
from webapp.services.images.keys import Image
from webapp.services.system import statements

_WAITING = (ImportRun.state == RunState.QUEUED, ImportRun.is_cancelled.is_(False))


def wanted(*, is_full: bool = False) -> Any:
    """A query for the active run that is not being stopped. is_full: one of everything."""
    query = select(ImportRun).where(
        ImportRun.state.in_(ACTIVE_STATES), ImportRun.is_cancelled.is_(False)
    )
    if is_full:
        query = query.where(ImportRun.source_ids.is_(null()), ImportRun.only_images.is_(null()))
    return query.limit(1).execution_options(populate_existing=True)


def is_free_for(source_ids: Sequence[int]) -> bool:
    """Whether every active run reads these sources, and not for some images alone."""
    return all(
        run.only_images is None and (run.source_ids is None or {*source_ids} <= {*run.source_ids})
        for run in db.session.scalars(wanted().limit(None))
    )


def insert(
    trigger: str,
    requested_by: str,
    is_attended: Any,
    source_ids: Sequence[int] | None = None,
) -> bool:
    """One statement that adds a queued row unless there is an active one of at least as much."""
    active = wanted(is_full=source_ids is None).with_only_columns(ImportRun.id)
    values: dict[str, Any] = {"source_ids": source_ids} if source_ids is not None else {}
    return _insert(trigger, requested_by, is_attended, values, ~exists(active))


def widen(trigger: str, requested_by: str) -> None:
    """A queued run of some sources or images becomes one of all of them."""
    is_narrow = ImportRun.source_ids.is_not(null()) | ImportRun.only_images.is_not(null())
    everything = {"source_ids": null(), "only_images": null()}
    statements.execute(
        update(ImportRun)
        .where(*_WAITING, is_narrow)
        .values(**everything, trigger=trigger, requested_by=requested_by)
    )


def attend(run_id: int) -> None:
    """A person takes on a run: it no longer waits for a window, but for who paused it."""
    hold = case((ImportRun.hold == HOLD_WINDOW, ""), else_=ImportRun.hold)
    is_it = ImportRun.id == run_id
    statements.execute(update(ImportRun).where(is_it).values(is_attended=True, hold=hold))


def add_images(
    images: Collection[Image], trigger: str, requested_by: str, *, is_attended: bool = True
) -> None:
    """Have the queued run import these: one of some images, or of everything if it's of sources.

    A person's own images don't wait for a window.
    """
    hold()
    queued = db.session.scalar(
        select(ImportRun).where(*_WAITING).execution_options(populate_existing=True)
    )
    if queued is None:
        values = {"only_images": [image._asdict() for image in images]}
        _insert(trigger, requested_by, literal(is_attended), values)
    elif queued.only_images is not None:
        more = [one._asdict() for one in images if one._asdict() not in queued.only_images]
        queued.only_images = [*queued.only_images, *more]
    elif queued.source_ids is not None:
        widen(trigger, requested_by)


def hold() -> None:
    """Hold the active runs until the caller commits: writing makes others wait on any database."""
    rows = update(ImportRun).where(ImportRun.state.in_(ACTIVE_STATES))
    statements.execute(rows.values(hold=ImportRun.hold))


def _insert(
    trigger: str,
    requested_by: str,
    is_attended: Any,
    values: dict[str, Any],
    *conditions: Any,
) -> bool:
    columns = ["state", "trigger", "requested_by", "is_attended", *values]
    found = [literal(RunState.QUEUED.value), literal(trigger), literal(requested_by), is_attended]
    found += [literal(one, getattr(ImportRun, name).type) for name, one in values.items()]
    row = select(*found).where(*conditions)
    return statements.count(statements.insert_new(ImportRun).from_select(columns, row)) == 1
