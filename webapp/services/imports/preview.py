# SPDX-License-Identifier: Apache-2.0
"""What the next import would do, and why, from what is known now; reads only."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import null, select

from webapp.extensions import db, store
from webapp.models import BootSource, ImportRun
from webapp.services.images.keys import Image, Key
from webapp.services.imports import inventory, plan_report, planning
from webapp.services.imports.plan_report import PlanReport
from webapp.services.imports.plans import ImportPlan, Inventory, SourceState
from webapp.services.sources import sources


def next_plan() -> ImportPlan:
    """The plan of an import that would find every source as it was when it was last read."""
    return planning.plan(states(), inventory.read(store()), held=held_back())


def next_report() -> PlanReport:
    """The same as people read it, approve it and keep it."""
    found, known = states(), inventory.read(store())
    return report(planning.plan(found, known, held=held_back()), found, known)


def report(plan: ImportPlan, found: Sequence[SourceState], known: Inventory) -> PlanReport:
    """Tell a plan, with the room on the disk and what catalogues leave out."""
    rows = db.session.execute(select(BootSource.id, BootSource.left_out)).all()
    left_out = {row.id: row.left_out for row in rows}
    return plan_report.report(plan, found, known, store().free_bytes(), left_out)


def held_back() -> frozenset[Key]:
    """The images whose removal waits for a person since an earlier run."""
    last = db.session.scalar(
        select(ImportRun.plan)
        .where(ImportRun.finished_at.is_not(None), ImportRun.plan.is_not(null()))
        .order_by(ImportRun.id.desc())
        .limit(1)
    )
    last = last or {}
    # A plan that was kept before they were noted has those that it let wait itself.
    before = [(one["name"], one["architecture"]) for one in last.get("wait", ())]
    return frozenset(Key(*names) for names in last.get("held", before))


def fresh_sources() -> set[int]:
    """The ids of the sources whose last refresh went well."""
    return {
        row.id
        for row in sources.all_sources()
        if row.refreshed_at is not None and not row.error_code
    }


def states(images: Collection[Image] | None = None) -> list[SourceState]:
    """Every source as it was when it was last read, with some images or all."""
    return inventory.sources(fresh_sources(), images)
