# SPDX-License-Identifier: Apache-2.0
"""Carry out one import run: refresh, plan, download, publish, and only then remove.

Each step can be repeated: the next worker finds in the tables and the store what a
killed one left, and continues from there. An image that machines boot stays until
its successor is complete (rule: keep-last-good).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from typing import cast

import structlog
from flask import Flask, current_app
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError

from webapp.errors import Problem
from webapp.extensions import db, settings, store
from webapp.fetch import Stopped
from webapp.models import (
    BootResource,
    BootSource,
    ImportRun,
    ResourceType,
    RunState,
)
from webapp.numbers import counted
from webapp.services.blobs import reserving
from webapp.services.images import locks, publishing
from webapp.services.images.keys import Key, PlannedSet
from webapp.services.images.publishing import BlobsVanished, Origin
from webapp.services.imports import (
    approving,
    guarding,
    healing,
    inventory,
    packages,
    pausing,
    preview,
    room,
    runs,
    stopping,
    summary,
    transfers,
)
from webapp.services.imports.downloading import Outcome, download, unexpected
from webapp.services.imports.failures import Failures
from webapp.services.imports.intents import intent
from webapp.services.imports.planning import nothing_left, plan
from webapp.services.imports.plans import ImportPlan, Retirement, SourceState
from webapp.services.imports.progress import Reporter
from webapp.services.imports.scope import Scope
from webapp.services.sources import commissioning, refreshing
from webapp.services.system import statements

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """Another worker has the run; whatever was not committed is dropped."""


def execute(run_id: int, owner: str, is_leaving: Callable[[], bool]) -> RunState | None:
    """Work on a claimed run until it ends, is stopped, or this worker has to leave.

    Returns how it ended; None when it was handed back or taken over. Raises
    nothing but what the database itself cannot do; the run is then resumed later.
    """
    run = db.session.get_one(ImportRun, run_id, populate_existing=True)
    app = cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]
    scope = Scope.of(run)
    before = runs.RunProgress(run.phase, run.bytes_total, run.bytes_done, 0)
    stopped = stopping.images_of(run.stopped_images)
    db.session.commit()
    hold = pausing.follow_windows(run_id, owner)
    with Reporter(app, run_id, owner, is_leaving, before, hold, stopped) as reporter:
        work = Import(run_id, owner, reporter, scope)
        try:
            state, words = work.run()
        except LeaseLost:
            db.session.rollback()
            reporter.is_lost = True
        except Exception as error:
            log.exception("the import broke", run=run_id)
            db.session.rollback()
            work.failures.add(unexpected(error, f"run {run_id}"))
            state, words = RunState.FAILED, "The import failed unexpectedly."
    if reporter.is_lost:
        log.warning("another worker has the run", run=run_id)
        return None
    if state == RunState.STOPPED and not reporter.is_cancelled:
        runs.heartbeat(run_id, owner, reporter.snapshot(is_last=True))
        runs.release(run_id, owner)
        log.info("run handed back", run=run_id)
        return None
    ending = runs.Ending(state, words, reporter.snapshot(is_last=True), work.intent)
    if not runs.finish(run_id, owner, ending):
        return None
    log.info("run ended", run=run_id, state=str(state), summary=words)
    return state


class Import:
    """The steps of one run and what they found out."""

    def __init__(self, run_id: int, owner: str, reporter: Reporter, scope: Scope) -> None:
        self._run_id, self._owner, self._reporter = run_id, owner, reporter
        self._scope = scope
        self.failures = Failures(run_id)
        self._origins: dict[int, Origin] = {}
        self._removed: list[Key] = []
        self._unread: set[int] = set()
        self._is_superseded = False
        self.intent = ""

    def run(self) -> tuple[RunState, str]:
        """All steps; returns how the run ends, STOPPED when it was left off early."""
        try:
            return self._steps()
        except Stopped:
            published = summary.published(self._run_id)
            done = f" {published} published before that." if published else ""
            return RunState.STOPPED, f"Stopped by user.{done}"

    def _steps(self) -> tuple[RunState, str]:
        """Raises Stopped."""
        self._reporter.wait_while_held()
        self.intent = intent()
        fresh = self._refresh()
        if self._reporter.is_stopped():
            raise Stopped()
        self._reporter.enter("planning")
        states = inventory.sources(fresh)
        todo, problem = self._plan(states)
        if problem is not None:
            self.failures.add(problem)
            return RunState.FAILED, "Nothing was changed: the plan changed after it was approved."
        for refusal in todo.refusals:
            self.failures.add(refusal.problem, refusal.source_id, refusal.key)
        problem = room.lack(todo, store().free_bytes())
        if problem is not None:
            self.failures.add(problem)
            return RunState.FAILED, "Nothing was changed: not enough disk space."
        self._reserve(todo)  # and so count what a killed worker had published
        if todo.is_empty:
            packages.collect(states, self._reporter.is_stopped)
            return self._ended(states)
        self._fetch(todo, states)
        if self._reporter.is_stopped() and self._reporter.fatal is None:
            raise Stopped()
        self._leave_out(todo)
        if self._reporter.fatal is None:
            self._heal(todo)
            self._remove(todo)
            commissioning.choose_defaults()
            packages.collect(states, self._reporter.is_stopped)
        return self._ended(states)

    # -- refresh and plan

    def _refresh(self) -> set[int]:
        """Read every enabled source; returns the ids of those that can be trusted today."""
        self._reporter.enter("refreshing")
        rows = db.session.execute(
            select(BootSource.id, BootSource.url, BootSource.updated_at)
        ).all()
        db.session.commit()
        outcomes = refreshing.refresh_all(self._reporter.is_stopped, self._scope.sources())
        self.failures.urls = {row.id: row.url for row in rows}
        stamps = {row.id: row.updated_at for row in rows}
        trust = (BootSource.id, BootSource.is_unsigned, BootSource.signer_fingerprint)
        self._origins = {
            row.id: Origin(row.id, stamps[row.id], row.is_unsigned, row.signer_fingerprint)
            for row in db.session.execute(select(*trust))
            if row.id in stamps
        }
        for outcome in outcomes:
            if outcome.problem is not None and not self._reporter.is_stopped():
                self.failures.add(outcome.problem, outcome.source_id)
                self._unread.add(outcome.source_id)
        good = {outcome.source_id for outcome in outcomes if outcome.problem is None}
        return good & set(self._origins)

    def _plan(self, states: list[SourceState]) -> tuple[ImportPlan, Problem | None]:
        """The plan, which is kept with the run; and why not to follow it. Raises Stopped."""
        kept = approving.of(self._run_id)
        known = inventory.read(store())
        held = preview.held_back()
        agreed = (kept.confirmed, held, self._scope.images)
        todo = plan(states, known, *agreed)
        checked = inventory.checked(known, todo, store(), self._reporter.is_stopped)
        db.session.commit()
        if checked != known:
            todo = plan(states, checked, *agreed)
        verdict = approving.judge(kept, preview.report(todo, states, checked))
        still = {"held": guarding.still_held(verdict.plan, held, is_full=self._scope.is_full)}
        if not runs.renew_lease(self._run_id, self._owner, plan=verdict.plan | still):
            raise LeaseLost()
        db.session.commit()
        return todo, verdict.problem

    def _reserve(self, todo: ImportPlan) -> None:
        """Write down what is to be fetched. Raises Stopped."""
        found = transfers.begin(self._run_id, todo.blobs, self._stop_or_renew)
        self._reporter.expect(found, todo.users)

    def _stop_or_renew(self) -> None:
        """Renew the lease, or raise Stopped once the run is to stop."""
        if self._reporter.is_stopped():
            raise Stopped
        self._renew_lease()

    # -- download and publish

    def _fetch(self, todo: ImportPlan, states: Iterable[SourceState]) -> None:
        """Fetch what is missing and publish every set as soon as it is whole."""
        self._reporter.enter("downloading")
        missing = {blob.sha256 for blob in todo.to_fetch}
        waiting = {planned.key: set(planned.digests & missing) for planned in todo.sets}
        for planned in todo.sets:
            if not waiting[planned.key]:
                self._publish(planned)
        found = transfers.mirrors_of(todo.to_fetch, states)
        try:
            with closing(
                download(todo.to_fetch, found, store(), self._reporter, settings().downloads)
            ) as outcomes:
                for outcome in outcomes:
                    users = [s for s in todo.sets if outcome.blob.sha256 in waiting[s.key]]
                    if outcome.problem is not None:
                        self._fail_blob(outcome, users)
                        continue
                    reserving.mark_ready(outcome.blob.sha256)
                    for planned in users:
                        waiting[planned.key].discard(outcome.blob.sha256)
                        if not waiting[planned.key]:
                            self._publish(planned)
        finally:
            for mirror in found.values():
                mirror.close()

    def _publish(self, planned: PlannedSet) -> None:
        for is_last_try in (False, True):
            try:
                self._publish_once(planned)
                return
            except BlobsVanished as problem:
                db.session.rollback()
                return self.failures.add(problem, planned.source_id, planned.key)
            except (IntegrityError, StaleDataError, OperationalError) as error:
                # Clean-up removed an old version that was about to be used again, or locked
                # the same rows in another order and PostgreSQL ended this one's transaction.
                db.session.rollback()
                if is_last_try or not statements.is_clash(error):
                    raise

    def _publish_once(self, planned: PlannedSet) -> None:
        origin = self._origins[planned.source_id]
        self._renew_lease()  # locks the run's row, so that no one stops the image meanwhile
        if planned.key.image in stopping.stopped_in(self._run_id):
            db.session.rollback()
            return
        if not publishing.is_unchanged(origin):
            # It may not be trusted any longer; the next run decides (rule: change-during-import).
            db.session.rollback()
            self._is_superseded = True
            self.failures.keys.add(planned.key)
            return
        is_new, retired = publishing.publish(planned, origin)
        if is_new:
            runs.renew_lease(
                self._run_id,
                self._owner,
                sets_published=ImportRun.sets_published + 1,
                sets_retired=ImportRun.sets_retired + retired,
            )
        db.session.commit()
        log.info("image published", image=" ".join(planned.key), why=planned.why)

    def _leave_out(self, todo: ImportPlan) -> None:
        """What people stopped alone isn't there, which is no failure."""
        stopped = stopping.stopped_in(self._run_id)
        self.failures.keys.update(one.key for one in todo.sets if one.key.image in stopped)
        db.session.commit()

    # -- heal and remove

    def _heal(self, todo: ImportPlan) -> None:
        """Replace damaged files that no source offers, where the import folder has them.

        Raises Stopped.
        """
        for one in todo.orphans:
            if not healing.is_healed(one, self._reporter.is_stopped):
                self.failures.add(healing.problem_of(one), None, one.key, one.filename)

    def _remove(self, todo: ImportPlan) -> None:
        """Retire images that are no longer wanted, now that the wanted ones are stored."""
        retire = [one for one in todo.retire if not one.waits_for & self.failures.keys]
        if not retire and not todo.newly_gone:
            return
        self._reporter.enter("publishing")
        self._renew_lease()
        if intent() != self.intent:
            retire = []  # what was unselected may be selected again: the next run decides
        locked = locks.hold([one.resource_id for one in retire])
        retire = [one for one in retire if one.resource_id not in locked]
        if todo.newly_gone:
            publishing.mark_gone(todo.newly_gone)
        problem = None if todo.is_emptied else self._nothing_left(retire)
        if retire and problem is None:
            rows = [(one.resource_id, one.key, one.why) for one in retire]
            retired = publishing.retire(rows, actor="worker")
            runs.renew_lease(
                self._run_id, self._owner, sets_retired=ImportRun.sets_retired + retired
            )
            self._removed = [one.key for one in retire]
        db.session.commit()
        if problem is not None:
            self.failures.add(problem)

    def _nothing_left(self, retire: Collection[Retirement]) -> Problem | None:
        """The guard of the plan once more: what was to come may have failed."""
        others = db.session.scalar(
            select(func.count())
            .select_from(BootResource)
            .where(
                BootResource.rtype == ResourceType.SYNCED,
                BootResource.current_set_id.is_not(None),
                BootResource.id.not_in([one.resource_id for one in retire]),
            )
        )
        return nothing_left(len(retire)) if retire and not others else None

    # -- failures and the end

    def _fail_blob(self, outcome: Outcome, users: list[PlannedSet]) -> None:
        problem, blob = cast(Problem, outcome.problem), outcome.blob
        self.failures.keys.update(planned.key for planned in users)
        source_id = outcome.location.source_id if outcome.location else None
        self.failures.add(problem, source_id, blob.first, blob.filename)

    def _renew_lease(self) -> None:
        if not runs.renew_lease(self._run_id, self._owner):
            raise LeaseLost()

    def _ended(self, states: Iterable[SourceState]) -> tuple[RunState, str]:
        enabled = [state for state in states if state.is_enabled]
        if not enabled:
            return RunState.SUCCEEDED, "No boot source is enabled."
        published = summary.published(self._run_id)
        removed = summary.removed(self._removed) if self._removed else ""
        stopped = stopping.stopped_in(self._run_id)
        done = [f"{published} published."] if published else []
        done += [f"{removed} removed."] if removed else []
        done += [f"{counted(len(stopped), 'image')} stopped by user."] if stopped else []
        words = " ".join(done) or "No changes."
        if self._is_superseded:
            words += " A source changed in the meantime, so another import follows."
        idle = self._unread & {state.id for state in enabled if not state.wanted}
        if idle:
            words += f" {counted(len(idle), 'boot source')} without selections couldn't be read."
        if self.failures.count == len(idle):
            return RunState.SUCCEEDED, words
        words += f" {counted(self.failures.count, 'problem')}."
        has_images = db.session.scalar(
            select(BootResource.id).where(BootResource.current_set_id.is_not(None)).limit(1)
        )
        is_partial = has_images and any(state.is_judged for state in enabled)
        return (RunState.PARTIAL if is_partial else RunState.FAILED), words
