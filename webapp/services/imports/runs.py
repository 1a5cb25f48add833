# SPDX-License-Identifier: Apache-2.0
"""Import runs: start, claim, renew, stop, end. The row is the truth.

Every change of state is one conditional UPDATE whose row count is checked,
and the partial unique indexes of the table make a second queued or running row
impossible. So any number of workers, pages and scripts may call this at once,
and any of them may die between two calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sqlalchemy import delete, exists, func, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from webapp.extensions import db
from webapp.models import (
    ACTIVE_STATES,
    Blob,
    BlobState,
    FileTransfer,
    ImportRun,
    ResourceFile,
    RunState,
    TransferState,
    utcnow,
)
from webapp.services.images.keys import Image
from webapp.services.imports import queueing
from webapp.services.imports.intents import intent
from webapp.services.system import events, statements
from webapp.services.system.wake import wake
from webapp.storage.leases import is_dead

LEASE_S = 30
UNATTENDED = ("schedule", "source", "start")  # triggers of runs that no one asked for
OPEN_TRANSFERS = (TransferState.WAITING, TransferState.DOWNLOADING, TransferState.VERIFYING)

_ASKED = (
    ImportRun.is_cancelled, ImportRun.hold, ImportRun.retry_asked_at, ImportRun.stopped_images
)  # fmt: skip


@dataclass(frozen=True)
class RunProgress:
    """What a heartbeat saves; ``transfers`` are rows of file_transfer that changed, with ids."""

    phase: str
    bytes_total: int
    bytes_done: int
    bytes_per_s: int
    transfers: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Pulse:
    """What a heartbeat learns: whether the run is still ours, whether to stop it or hold it.

    retry_asked: when someone last asked to retry at once. stopped: images, as the row has them.
    """

    is_ours: bool
    is_cancelled: bool
    hold: str = ""
    retry_asked: datetime | None = None
    stopped: Sequence[dict[str, str]] = ()


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    state: RunState
    summary: str
    progress: RunProgress
    intent: str = ""  # what it started from, see intents.intent; "" asks for no other run


class Start(NamedTuple):
    """The run that does what was asked for; is_new: it was made for that."""

    run: ImportRun
    is_new: bool


def queue(trigger: str, requested_by: str, source_ids: Sequence[int] | None = None) -> ImportRun:
    """Ask for an import, for whoever doesn't mind which one it is; see ``start``."""
    return start(trigger, requested_by, source_ids).run


def start(trigger: str, requested_by: str, source_ids: Sequence[int] | None = None) -> Start:
    """Ask for an import; an active one is returned instead of a second.

    trigger: ``manual``, ``schedule``, ``source``, ``start`` or ``change``. source_ids: the
    only sources to read, None for all; all of them are read if an active run is of others or
    of some images. One of all waits behind one of some. A run that is being stopped does not
    count as active, so a start after a stop is not lost. One that a person asks for, even
    when it's on its way, doesn't wait for a window.
    """
    is_new = False
    while True:
        if source_ids is not None and not queueing.is_free_for(source_ids):
            source_ids = None
        is_full = source_ids is None
        if is_full:
            queueing.widen(trigger, requested_by)
        # The lock serializes this with finish(): either the returned run still sees
        # what the caller has just committed, or it has ended and a new one is created
        # (rule: change-during-import).
        run: ImportRun | None = db.session.scalar(
            queueing.wanted(is_full=is_full).with_for_update()
        )
        if run is not None:
            if trigger not in UNATTENDED:
                queueing.attend(run.id)
            db.session.commit()
            wake()
            return Start(run, is_new)
        is_attended = literal(trigger not in UNATTENDED)
        if queueing.insert(trigger, requested_by, is_attended, source_ids):
            is_new = True
            events.record("run.queued", actor=requested_by, subject=trigger)
        db.session.commit()


def current() -> ImportRun | None:
    """The running run, else the queued one."""
    return db.session.scalar(
        select(ImportRun)
        .where(ImportRun.state.in_(ACTIVE_STATES))
        .order_by(ImportRun.state == RunState.QUEUED)
        .limit(1)
        .execution_options(populate_existing=True)
    )


def last_ended() -> ImportRun | None:
    """The run that ended last."""
    return db.session.scalar(
        select(ImportRun)
        .where(ImportRun.state.not_in(ACTIVE_STATES))
        .order_by(ImportRun.id.desc())
        .limit(1)
    )


def recent(limit: int = 20) -> Sequence[ImportRun]:
    """The last runs, newest first."""
    return db.session.scalars(select(ImportRun).order_by(ImportRun.id.desc()).limit(limit)).all()


def page(*, before: int = 0, limit: int = 100) -> Sequence[ImportRun]:
    """Runs, newest first; before: only those with a smaller id, 0 for all."""
    query = select(ImportRun).order_by(ImportRun.id.desc()).limit(limit)
    return db.session.scalars(query.where(ImportRun.id < before) if before else query).all()


def is_importing() -> bool:
    """Whether an import is queued or held by a living worker (rule: is-importing)."""
    is_held = (ImportRun.state == RunState.RUNNING) & (ImportRun.lease_until > now())
    query = select(ImportRun.state, ImportRun.lease_owner)  # two rows at most
    found = db.session.execute(query.where((ImportRun.state == RunState.QUEUED) | is_held)).all()
    return any(run.state == RunState.QUEUED or not is_dead(run.lease_owner) for run in found)


def stop(requested_by: str) -> ImportRun | None:
    """Stop what is queued at once and what runs within a second or two; None when nothing is.

    A run whose worker died is ended here, since no worker would end it.
    """
    run = current()
    if run is None:
        return None
    now_ = now()
    dead = [run.lease_owner] if is_dead(run.lease_owner) else []
    is_over = or_(ImportRun.lease_until < now_, ImportRun.lease_owner.in_(dead))
    is_orphan = (ImportRun.state == RunState.RUNNING) & is_over
    ended = (
        update(ImportRun)
        .where((ImportRun.state == RunState.QUEUED) | is_orphan)
        .values(state=RunState.STOPPED, finished_at=now_, summary="Stopped by user.", hold="")
        .returning(ImportRun.id)
    )
    for run_id in statements.execute(ended).scalars().all():
        _close_transfers(run_id)
    _drop_wanted()
    statements.execute(
        update(ImportRun).where(ImportRun.state == RunState.RUNNING).values(is_cancelled=True)
    )
    events.record("run.stop_requested", actor=requested_by, subject=f"run {run.id}")
    db.session.commit()
    return run


def claim(owner: str) -> ImportRun | None:
    """Take the run that is to be worked on, for LEASE_S seconds; None when there is none.

    First one whose holder died or went silent, which is then resumed, else the
    queued one. Of any number of callers one gets it.
    """
    now_ = now()
    held = db.session.execute(
        select(ImportRun.id, ImportRun.lease_owner, ImportRun.lease_until).where(
            ImportRun.state == RunState.RUNNING
        )
    ).one_or_none()
    lease = {"lease_owner": owner, "lease_until": now_ + timedelta(seconds=LEASE_S)}
    if held is not None:
        is_over = held.lease_until is None or held.lease_until < now_
        if not is_over and held.lease_owner and not is_dead(held.lease_owner):
            db.session.commit()
            return None
        taking = update(ImportRun).where(
            ImportRun.id == held.id,
            ImportRun.state == RunState.RUNNING,
            ImportRun.lease_owner == held.lease_owner,
            or_(ImportRun.lease_until.is_(None), ImportRun.lease_until == held.lease_until),
        )
    else:
        other = ImportRun.__table__.alias()
        lease |= {"state": RunState.RUNNING, "started_at": now_}
        taking = update(ImportRun).where(
            ImportRun.state == RunState.QUEUED,
            ~exists().where(other.c.state == RunState.RUNNING),
        )
    try:
        run_id = statements.execute(
            taking.values(**lease).returning(ImportRun.id)
        ).scalar_one_or_none()
    except IntegrityError:  # another run started at the same moment
        db.session.rollback()
        return None
    if run_id is not None and held is not None:
        events.record("run.resumed", actor="worker", subject=f"run {run_id}", held=held.lease_owner)
    db.session.commit()
    return db.session.get(ImportRun, run_id, populate_existing=True) if run_id else None


def heartbeat(run_id: int, owner: str, progress: RunProgress) -> Pulse:
    """Renew the lease and save progress in one transaction; returns whether to continue."""
    found = statements.execute(
        update(ImportRun)
        .where(*owned_by(run_id, owner))
        .values(
            lease_until=now() + timedelta(seconds=LEASE_S),
            phase=progress.phase,
            bytes_total=progress.bytes_total,
            bytes_done=progress.bytes_done,
            bytes_per_s=progress.bytes_per_s,
        )
        .returning(*_ASKED)
    ).one_or_none()
    if found is None:
        db.session.rollback()
        return Pulse(is_ours=False, is_cancelled=False)
    save_transfers(progress.transfers)
    db.session.commit()
    return Pulse(True, *found)


def glance(run_id: int, owner: str) -> Pulse:
    """What a heartbeat learns, without writing."""
    found = db.session.execute(select(*_ASKED).where(*owned_by(run_id, owner))).one_or_none()
    db.session.rollback()
    return Pulse(True, *found) if found else Pulse(is_ours=False, is_cancelled=False)


def renew_lease(run_id: int, owner: str, **values: Any) -> bool:
    """Renew the lease and lock the run's row until the caller commits; False if we lost the run.

    A run commits this together with each change outside its own rows, so that a
    worker that was silent for too long can't act at the same time as its successor.
    """
    values = {"lease_until": now() + timedelta(seconds=LEASE_S), **values}
    return statements.count(update(ImportRun).where(*owned_by(run_id, owner)).values(**values)) == 1


def save_transfers(changed: Sequence[dict[str, Any]]) -> None:
    """Write what changed in file_transfer; the caller commits."""
    if changed:
        db.session.execute(update(FileTransfer), changed)


def finish(run_id: int, owner: str, ending: Ending) -> bool:
    """End our run. Returns False, and changes nothing, if we no longer own it.

    If sources or selections changed since the run started, another one is queued in
    the same transaction (rule: change-during-import).
    """
    values = {
        "state": ending.state,
        "phase": "",
        "summary": ending.summary,
        "finished_at": now(),
        "lease_owner": "",
        "lease_until": None,
        "bytes_total": ending.progress.bytes_total,
        "bytes_done": ending.progress.bytes_done,
        "bytes_per_s": 0,
        "hold": "",
    }
    # Before anything is read: see queue().
    if not statements.count(update(ImportRun).where(*owned_by(run_id, owner)).values(**values)):
        db.session.rollback()
        return False
    save_transfers(ending.progress.transfers)
    _close_transfers(run_id)
    _drop_wanted()
    if ending.intent and ending.state != RunState.STOPPED and intent() != ending.intent:
        _follow(run_id)
    events.record(
        f"run.{ending.state}", actor="worker", subject=f"run {run_id}", summary=ending.summary
    )
    db.session.commit()
    return True


def release(run_id: int, owner: str) -> None:
    """Hand a run back unfinished, so that the next worker continues it at once."""
    statements.execute(
        update(ImportRun).where(*owned_by(run_id, owner)).values(lease_owner="", lease_until=now())
    )
    db.session.commit()


def now() -> datetime:
    """The database's clock, which all workers share; SQLite's is this machine's."""
    if db.engine.dialect.name == "postgresql":
        return cast(datetime, db.session.scalar(select(func.clock_timestamp())))
    return utcnow()


def owned_by(run_id: int, owner: str) -> tuple[Any, ...]:
    """The conditions under which a worker may change its run."""
    return (
        ImportRun.id == run_id,
        ImportRun.lease_owner == owner,
        ImportRun.state == RunState.RUNNING,
    )


def _follow(run_id: int) -> None:
    """Queue a run after one that is ending. If a person asked for that, then for this one too."""
    run = db.session.execute(
        select(ImportRun.only_images, ImportRun.is_attended).where(ImportRun.id == run_id)
    ).one()
    if run.only_images is not None:
        images = [Image(**one) for one in run.only_images]
        queueing.add_images(images, "change", "worker", is_attended=run.is_attended)
    else:
        queueing.widen("change", "worker")
        queueing.insert("change", "worker", literal(run.is_attended))


def _close_transfers(run_id: int) -> None:
    statements.execute(
        update(FileTransfer)
        .where(FileTransfer.run_id == run_id, FileTransfer.state.in_(OPEN_TRANSFERS))
        .values(state=TransferState.STOPPED, bytes_per_s=0)
    )


def _drop_wanted() -> None:
    """Delete the rows of bytes that never came, unless a run may still bring them."""
    statements.execute(
        delete(Blob).where(
            Blob.state == BlobState.WANTED,
            ~exists().where(ResourceFile.blob_id == Blob.id),
            ~exists().where(ImportRun.state == RunState.RUNNING),
        )
    )
