# SPDX-License-Identifier: Apache-2.0
"""Start exactly the plan that a person saw, and hold its run to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, literal, null, select, true, update

from webapp.errors import Conflict, Problem
from webapp.extensions import db
from webapp.models import ImportRun, RunState
from webapp.services.images.keys import Key
from webapp.services.imports import plan_report, preview
from webapp.services.imports.plan_report import PlanReport
from webapp.services.system import events, statements
from webapp.services.system.wake import wake


@dataclass(frozen=True)
class KeptPlan:
    """The plan that a run has already, None before it has any."""

    plan: Mapping[str, Any] | None
    is_approved: bool

    @property
    def confirmed(self) -> frozenset[Key]:
        """The images that a person lets go with it."""
        return plan_report.confirmed(self.plan if self.is_approved else None)


@dataclass(frozen=True)
class Verdict:
    """The plan to keep with the run, and why not to follow it, None to go ahead."""

    plan: dict[str, Any]
    problem: Problem | None = None


def start(digest: str, actor: str) -> ImportRun:
    """Queue a run of the plan with this digest, after the one that is running.

    That confirms what the plan removes. Raises PlanChanged if it's another one by now.
    """
    found = preview.next_report()
    if digest != found.digest:
        raise PlanChanged(
            "The plan changed since you saw it. Nothing was started.",
            where="import plan",
            next_step="Review what will happen now, and start that plan.",
        )
    values: dict[str, Any] = {"plan": found.as_dict(), "is_approved": True, "is_attended": True}
    # Everything, also where it takes over a run of some sources or images.
    values |= {"source_ids": null(), "only_images": null()}
    while True:
        run_id = statements.execute(
            update(ImportRun)
            .where(ImportRun.state == RunState.QUEUED)
            .values(requested_by=actor, trigger="manual", **values)
            .returning(ImportRun.id)
        ).scalar_one_or_none()
        if run_id is not None:
            break
        _insert(actor)
    events.record("run.approved", actor=actor, subject=f"run {run_id}", plan=digest[:12])
    db.session.commit()
    wake()
    return db.session.get_one(ImportRun, run_id, populate_existing=True)


class PlanChanged(Conflict):
    """It isn't the plan that the person saw."""

    code = "plan-changed"


def of(run_id: int) -> KeptPlan:
    """What a run was started with, or planned before its worker died."""
    row = db.session.execute(
        select(ImportRun.plan, ImportRun.is_approved).where(ImportRun.id == run_id)
    ).one()
    return KeptPlan(row.plan, row.is_approved)


def judge(kept: KeptPlan, now: PlanReport) -> Verdict:
    """Compare the plan that a run has with the one that it makes now.

    One that a person approved is followed or not begun; others follow the new one and
    say so.
    """
    if kept.plan is None:
        return Verdict(now.as_dict() | {"changes": []})
    changes = plan_report.beyond(kept.plan, now)
    if kept.is_approved:
        problem = plan_report.changed(changes) if changes else None
        return Verdict({**kept.plan, "changes": changes}, problem)
    if not changes:
        return Verdict({**kept.plan, "changes": kept.plan.get("changes", [])})
    return Verdict(now.as_dict() | {"changes": [*kept.plan.get("changes", []), *changes]})


def _insert(actor: str) -> None:
    """A queued row unless there is one; a running one doesn't count."""
    columns = ["state", "trigger", "requested_by", "is_attended"]
    other = ImportRun.__table__.alias()
    row = select(literal(RunState.QUEUED.value), literal("manual"), literal(actor), true()).where(
        ~exists().where(other.c.state == RunState.QUEUED)
    )
    statements.execute(statements.insert_new(ImportRun).from_select(columns, row))
