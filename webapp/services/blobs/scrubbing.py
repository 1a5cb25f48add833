# SPDX-License-Identifier: Apache-2.0
"""Reread every stored byte regularly, so that silent rot is found before it reaches a machine.

The rows show what is due: never checked, checked longer than SLIPWAY_SCRUB_DAYS ago, or
before a person asked for a pass. So a restart continues where the last worker stopped.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import and_, case, func, or_, select

from webapp.extensions import db, settings, store
from webapp.models import Blob, BlobState, ImportRun, RunState, Setting, utcnow
from webapp.services.blobs import checking, damage
from webapp.services.blobs.damage import Verified
from webapp.services.system import events
from webapp.services.system.wake import wake
from webapp.storage.base import BlobReader
from webapp.storage.errors import StoreProblem

REQUEST = "scrub_request"  # {"at": ISO time, "rate": MiB/s}
RESULT = "scrub_last_pass"
_IMPORT_SHARE = 4  # beside an import, a scrub reads at this fraction of its rate
_CHECK_S = 1.0
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # system call numbers
_IDLE = 3 << 13  # IOPRIO_CLASS_IDLE

log = structlog.get_logger(__name__)


class Interrupted(Exception):
    """The worker leaves in the middle of a file."""


@dataclass(frozen=True)
class ScrubStatus:
    """How far the stored bytes have been checked; sizes in bytes, the rate in bytes per second.

    A pass is what a person asked for, or what is older than the interval; its figures
    are 0 of 0 while nothing is due. all_checked_since: no file was checked before that;
    None while one never was.
    """

    days: int
    rate: int
    is_running: bool
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    all_checked_since: datetime | None
    damaged: int
    last_pass: dict[str, Any] | None

    @property
    def seconds_left(self) -> int | None:
        """At the full rate; None when nothing is due or the rate is unlimited."""
        left = self.bytes_total - self.bytes_done
        return left // self.rate if self.rate and left else None


def request(actor: str, rate: int | None = None) -> None:
    """Have every file checked now. rate: MiB per second for this pass, 0 for no limit."""
    value = {"at": utcnow().isoformat(), "rate": settings().scrub_rate if rate is None else rate}
    db.session.merge(Setting(key=REQUEST, value=value))
    events.record("scrub.requested", actor=actor, rate=value["rate"])
    db.session.commit()
    wake()


def settle(now: datetime) -> None:
    """Date a request of the future now, so that its pass can end; the caller commits."""
    asked = _request()
    if asked and datetime.fromisoformat(asked["at"]) > now:
        db.session.merge(Setting(key=REQUEST, value={**asked, "at": now.isoformat()}))


def status() -> ScrubStatus:
    """What is checked and what is due; two queries, reads only."""
    asked = _request()
    is_due = _is_due(asked)
    row = db.session.execute(
        select(
            func.count(),
            func.coalesce(func.sum(Blob.size), 0),
            func.coalesce(func.sum(case((is_due, 1), else_=0)), 0),
            func.coalesce(func.sum(case((is_due, Blob.size), else_=0)), 0),
            func.min(Blob.checked_at),
            func.coalesce(func.sum(case((Blob.checked_at.is_(None), 1), else_=0)), 0),
        ).where(Blob.state == BlobState.READY)
    ).one()
    count, size, due, due_bytes, oldest, never = row
    bad = select(func.count()).select_from(Blob).where(Blob.state == BlobState.BAD)
    last = db.session.get(Setting, RESULT)
    total, total_bytes = (count, size) if asked else (due, due_bytes)
    return ScrubStatus(
        days=settings().scrub_days,
        rate=_rate(asked),
        is_running=bool(due),
        files_done=total - due,
        files_total=total,
        bytes_done=int(total_bytes - due_bytes),
        bytes_total=int(total_bytes),
        all_checked_since=None if never else oldest,
        damaged=db.session.scalar(bad) or 0,
        last_pass=dict(last.value) if last else None,
    )


def work(is_leaving: Callable[[], bool]) -> None:
    """Check what is due, file by file, until nothing is or the worker leaves."""
    _be_idle()
    started = time.monotonic()
    files = size = bad = 0
    while not is_leaving():
        asked = _request()
        blob = _next(asked)
        db.session.commit()
        if blob is None:
            _end_pass(asked, files, size, bad, time.monotonic() - started)
            return
        try:
            bad += _check(blob, _Pace(_rate(asked), is_leaving))
        except Interrupted:
            return
        except StoreProblem as problem:
            log.warning("the scrub stops: the store can't be read", problem=str(problem))
            return
        files, size = files + 1, size + blob.size


def _check(blob: Verified, pace: _Pace) -> int:
    """Hash one file and note the outcome; returns 1 when it is bad."""
    found = store().stat(blob.sha256)
    fault = damage.hashed_fault(blob, store(), pace.hash_of)
    if fault is not None:
        checking.note_fault(blob, fault, "scrub")
        return 1
    checking.note_good(blob, found.mtime_ns if found else None)
    return 0


class _Pace:
    """Hashes at a bounded rate, slower beside a running import, and leaves when asked to."""

    def __init__(self, rate: int, is_leaving: Callable[[], bool]) -> None:
        self._rate = rate
        self._is_leaving = is_leaving
        self._checked_at = 0.0
        self._is_importing = False

    def hash_of(self, reader: BlobReader) -> str:
        """The sha256 of the bytes that are really there. Raises Interrupted."""
        found = hashlib.sha256()
        handle, position = reader.fileno(), 0
        if handle is not None:
            # What lies in memory may be better than what lies on the disk.
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        for piece in reader.chunks():
            begun = time.monotonic()
            found.update(piece)
            if handle is not None:
                os.posix_fadvise(handle, position, len(piece), os.POSIX_FADV_DONTNEED)
                position += len(piece)
            self._wait(len(piece), begun)
        return found.hexdigest()

    def _wait(self, size: int, begun: float) -> None:
        now = time.monotonic()
        if now - self._checked_at >= _CHECK_S:
            self._checked_at, self._is_importing = now, _is_importing()
        rate = self._rate // (_IMPORT_SHARE if self._is_importing else 1)
        until = begun + size / rate if rate else begun
        while not self._is_leaving() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        if self._is_leaving():
            raise Interrupted


def _is_importing() -> bool:
    is_running = select(ImportRun.id).where(ImportRun.state == RunState.RUNNING).limit(1)
    found = db.session.scalar(is_running) is not None
    db.session.commit()  # no transaction stays open while bytes are read
    return found


def _next(asked: dict[str, Any] | None) -> Verified | None:
    columns = (Blob.sha256, Blob.size, Blob.mtime_ns, Blob.verified_at)
    row = db.session.execute(
        select(*columns)
        .where(Blob.state == BlobState.READY, _is_due(asked))
        .order_by(Blob.checked_at.is_not(None), Blob.checked_at, Blob.id)
        .limit(1)
    ).one_or_none()
    return Verified(*row) if row else None


def _is_due(asked: dict[str, Any] | None) -> Any:
    """Never checked, or longer ago than allowed. A time in the future proves nothing."""
    now, days = utcnow(), settings().scrub_days
    old = []
    if days:
        old.append(Blob.checked_at < now - timedelta(days=days))
        old.append(Blob.checked_at > now + timedelta(days=1))
    if asked:
        old.append(Blob.checked_at < datetime.fromisoformat(asked["at"]))
    never = Blob.checked_at.is_(None)
    return or_(never, and_(~never, or_(*old))) if old else never


def _request() -> dict[str, Any] | None:
    return db.session.scalar(select(Setting.value).where(Setting.key == REQUEST))


def _rate(asked: dict[str, Any] | None) -> int:
    return int((asked or {}).get("rate", settings().scrub_rate)) << 20


def _end_pass(
    asked: dict[str, Any] | None, files: int, size: int, bad: int, seconds: float
) -> None:
    if not files and not asked:
        return
    value = {
        "finished_at": utcnow().isoformat(),
        "files": files,
        "bytes": size,
        "damaged": bad,
        "seconds": round(seconds, 1),
    }
    if files:
        db.session.merge(Setting(key=RESULT, value=value))
    row = db.session.get(Setting, REQUEST)
    if row is not None and row.value == asked:  # not requested again in the meantime
        db.session.delete(row)
    db.session.commit()
    log.info("scrub ended", **value)


def _be_idle() -> None:
    """Give this thread the idle I/O class, where the system has one."""
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None, use_errno=True).syscall(number, 1, 0, _IDLE)
