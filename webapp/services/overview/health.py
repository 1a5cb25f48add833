# SPDX-License-Identifier: Apache-2.0
"""Look for what is wrong with the whole system, each with a next step; reads only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import BootResource, RunState, Setting, utcnow
from webapp.services.blobs import scrubbing
from webapp.services.imports import inventory, runs
from webapp.services.sources import refreshing, sources

OK, WARN, BAD = "ok", "warn", "bad"
WORKER_SEEN = "worker_seen"
WORKER_LATE = timedelta(minutes=5)
LITTLE_ROOM = 5 << 30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. state: ok, warn or bad."""

    name: str
    state: str
    found: str
    next_step: str = ""


def look() -> list[Check]:
    """Everything, the worst first."""
    found = [check for step in _STEPS for check in _looked(step)]
    return sorted(found, key=lambda check: (BAD, WARN, OK).index(check.state))


def note_worker() -> None:
    """Let others see that the worker is alive."""
    db.session.merge(Setting(key=WORKER_SEEN, value=utcnow().isoformat()))
    db.session.commit()


def _looked(step: Callable[[], list[Check]]) -> list[Check]:
    try:
        return step()
    except Problem as problem:
        db.session.rollback()
        name = step.__name__.strip("_")
        return [Check(name, BAD, problem.what + _where(problem), problem.next_step)]


def _where(problem: Problem) -> str:
    return f" ({problem.where})" if problem.where else ""


def _database() -> list[Check]:
    dialect = db.engine.dialect.name
    count = db.session.scalar(select(func.count()).select_from(BootResource)) or 0
    return [Check("database", OK, f"{dialect} answers; {count} boot resources")]


def _store() -> list[Check]:
    store().check()
    free = store().free_bytes()
    if free is not None and free < LITTLE_ROOM:
        return [
            Check(
                "store",
                WARN,
                f"only {free >> 20} MiB are free",
                "Free some space or delete images that nobody needs.",
            )
        ]
    room = "room is not known" if free is None else f"{free >> 30} GiB free"
    return [Check("store", OK, f"can be written; {room}")]


def _damage() -> list[Check]:
    bad = inventory.damaged()
    images = sorted({" ".join(one.key) for one in bad})
    if bad:
        return [
            Check(
                "bytes",
                BAD,
                f"{len({one.sha256 for one in bad})} damaged files, not served: "
                + ", ".join(images[:5])
                + (f" and {len(images) - 5} more images" if len(images) > 5 else ""),
                "Start an import; it replaces them, or says what to upload.",
            )
        ]
    since = scrubbing.status().all_checked_since
    when = f"; all were read and checked since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return [Check("bytes", OK, f"no damaged files known{when}")]


def _worker() -> list[Check]:
    seen = db.session.scalar(select(Setting.value).where(Setting.key == WORKER_SEEN))
    at = datetime.fromisoformat(seen) if seen else None
    if at is None or utcnow() - at > WORKER_LATE:
        since = f"not since {at:%Y-%m-%d %H:%M} UTC" if at else "never"
        return [
            Check(
                "worker",
                BAD,
                f"was {since} seen",
                "Start everything with `slipway run`, or `slipway worker` alone; nothing is "
                "imported without it.",
            )
        ]
    return [Check("worker", OK, f"seen {at:%H:%M:%S} UTC")]


def _gpg() -> list[Check]:
    missing = [name for name in ("gpg", "gpgv") if shutil.which(name) is None]
    if missing:
        return [
            Check(
                "gpg",
                BAD,
                f"{' and '.join(missing)} cannot be found",
                "Install gnupg and gpgv; without them no signature is checked.",
            )
        ]
    return [Check("gpg", OK, "gpg and gpgv are there")]


def _sources() -> list[Check]:
    rows = sources.all_sources()
    if not rows:
        return [Check("boot sources", WARN, "there is none", "Add one: slipway source add URL.")]
    found = []
    for row in rows:
        name = f"boot source {row.id}"
        problem = refreshing.problem_of(row) if row.is_enabled else None
        if problem is not None:
            found.append(Check(name, BAD, f"{row.url}: {problem.what}", problem.next_step))
        elif not row.is_enabled:
            found.append(Check(name, OK, f"{row.url} is off"))
        elif row.refreshed_at is None:
            next_step = "Wait for the worker, or look at its log."
            found.append(Check(name, WARN, f"{row.url} was not read yet", next_step))
        else:
            found.append(Check(name, OK, f"{row.url} is good"))
    return found


def _imports() -> list[Check]:
    last = runs.last_ended()
    if last is None:
        return [Check("import", WARN, "none so far", "Start one: slipway import start.")]
    if last.state != RunState.SUCCEEDED:
        step = f"See what failed: slipway import show {last.id}."
        return [
            Check("import", WARN, f"the last one is {last.state}. {last.summary}".strip(), step)
        ]
    return [Check("import", OK, f"the last one succeeded. {last.summary}".strip())]


_STEPS = (_database, _store, _damage, _worker, _gpg, _sources, _imports)
