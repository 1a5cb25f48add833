# SPDX-License-Identifier: Apache-2.0
"""Check the whole system; each problem comes with a next step.

What needs a person is judged here, for ``doctor``, ``/api/v1/health`` and the page Overview.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import BootResource, BootSource, RunState, Setting, utcnow
from webapp.numbers import counted
from webapp.services.blobs import scrubbing
from webapp.services.imports import inventory, runs
from webapp.services.mirror import status as mirror_status
from webapp.services.overview import missing
from webapp.services.racks import listing as racks
from webapp.services.racks import offering
from webapp.services.racks.listing import RackState, RackStatus
from webapp.services.sources import announcing, commissioned, commissioning, rules, sources
from webapp.services.sources import health as source_health
from webapp.services.sources.health import SourceHealth
from webapp.severity import Severity

WORKER_SEEN = "worker_seen"
IMAGES = "images"  # the check that there are any
WORKER_LATE = timedelta(minutes=5)
LITTLE_ROOM = 5 << 30


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what was found, and what to do about it."""

    name: str
    severity: Severity
    found: str
    next_step: str = ""


def run_checks() -> list[Check]:
    """Check everything; the most serious findings come first. Proves that the store is writable."""
    return _checked((_database, _store, *_READ_ONLY))


def needs_attention() -> list[Check]:
    """What someone should see to, the most serious first.

    As ``run_checks``, but only by reading, in a fixed number of queries: for pages that ask often.
    """
    return [check for check in _checked((_free_space, *_READ_ONLY)) if check.severity in _WRONG]


def _checked(steps: Iterable[Callable[[], list[Check]]]) -> list[Check]:
    found = [check for step in steps for check in _run(step)]
    return sorted(found, key=lambda check: check.severity.rank)


def note_worker() -> None:
    """Record that the worker is alive."""
    db.session.merge(Setting(key=WORKER_SEEN, value=utcnow().isoformat()))
    db.session.commit()


def _run(step: Callable[[], list[Check]]) -> list[Check]:
    try:
        return step()
    except Problem as problem:
        db.session.rollback()
        name = step.__name__.strip("_").replace("_", " ")
        return [Check(name, Severity.ERROR, problem.what + _where(problem), problem.next_step)]


def _where(problem: Problem) -> str:
    return f" ({problem.where})" if problem.where else ""


def _database() -> list[Check]:
    dialect = db.engine.dialect.name
    count = db.session.scalar(select(func.count()).select_from(BootResource)) or 0
    return [Check("database", Severity.OK, f"{dialect} is up; {count} boot resources")]


def _store() -> list[Check]:
    store().check()
    if little := _free_space():
        return little
    free = store().free_bytes()
    room = "free space unknown" if free is None else f"{free >> 30} GiB free"
    return [Check("store", Severity.OK, f"writable; {room}")]


def _free_space() -> list[Check]:
    free = store().free_bytes()
    if free is not None and free < LITTLE_ROOM:
        return [
            Check(
                "store",
                Severity.WARN,
                f"only {free >> 20} MiB free",
                "Free up disk space or delete images you no longer need.",
            )
        ]
    return []


def _damage() -> list[Check]:
    bad = inventory.damaged()
    images = sorted({" ".join(one.key) for one in bad})
    if bad:
        return [
            Check(
                "integrity",
                Severity.ERROR,
                f"{len({one.sha256 for one in bad})} damaged files, not served: "
                + ", ".join(images[:5])
                + (f" and {len(images) - 5} more images" if len(images) > 5 else ""),
                "Start an import. It replaces them, or lists what to upload again.",
            )
        ]
    since = scrubbing.status().all_checked_since
    when = f"; all checked since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return [Check("integrity", Severity.OK, f"no damaged files{when}")]


def _worker() -> list[Check]:
    seen = db.session.scalar(select(Setting.value).where(Setting.key == WORKER_SEEN))
    at = datetime.fromisoformat(seen) if seen else None
    # Seen in the future: before the clock was set back, so perhaps long ago.
    if at is None or not -WORKER_LATE <= utcnow() - at <= WORKER_LATE:
        found = f"last seen {at:%Y-%m-%d %H:%M} UTC" if at else "never seen"
        return [
            Check(
                "worker",
                Severity.ERROR,
                found,
                "Start it with `slipway run` or `slipway worker`. Nothing is imported without it.",
            )
        ]
    return [Check("worker", Severity.OK, f"last seen {at:%H:%M:%S} UTC")]


def _gpg() -> list[Check]:
    missing = [name for name in ("gpg", "gpgv") if shutil.which(name) is None]
    if missing:
        return [
            Check(
                "gpg",
                Severity.ERROR,
                f"{' and '.join(missing)} not found",
                "Install gnupg and gpgv. Signatures can't be checked without them.",
            )
        ]
    return [Check("gpg", Severity.OK, "gpg and gpgv are installed")]


def _sources() -> list[Check]:
    rows = sources.all_sources()
    if not rows:
        step = "Add one on the page Boot sources, or with `slipway source add URL`."
        return [Check("boot sources", Severity.WARN, "none configured", step)]
    told = announcing.everything()
    return [_source(row, source_health.judge(row, announced=told.of(row))) for row in rows]


def _source(row: BootSource, health: SourceHealth) -> Check:
    text = f"{row.url}: {health.text}"
    if health.detail:
        text += f". {health.detail}"
    return Check(f"boot source {row.id}", health.severity, text, health.next_step)


def _rules() -> list[Check]:
    rows = rules.all_rules()
    step = "Change or remove it: see the page Rules or `slipway rule list`."
    empty = [row for row in rows if rules.warning_of(rules.found_of(row))]
    return [
        Check(f"rule {row.id}", Severity.WARN, f"{rules.rule_of(row).title}: matches nothing", step)
        for row in empty
    ] or [Check("rules", Severity.OK, f"{len(rows)}, and each matches something")] * bool(rows)


def _commissioning() -> list[Check]:
    words, step = commissioning.trouble()
    if words:
        return [Check("commissioning", Severity.WARN, words, step)]
    release = commissioned.release()
    return [Check("commissioning", Severity.OK, f"with ubuntu/{release}")] if release else []


def _images() -> list[Check]:
    problem = missing.problem()
    if problem is None:
        return []
    return [Check(IMAGES, Severity.WARN, problem.what, problem.next_step)]


def _imports() -> list[Check]:
    last = runs.last_ended()
    if last is None:
        return [Check("import", Severity.INFO, "none yet")]
    if last.state != RunState.SUCCEEDED:
        step = f"See the errors on the page Imports or with `slipway import show {last.id}`."
        return [
            Check(
                "import",
                Severity.WARN,
                f"the last import is {last.state}. {last.summary}".strip(),
                step,
            )
        ]
    return [Check("import", Severity.OK, f"the last import succeeded. {last.summary}".strip())]


def _mirror() -> list[Check]:
    found = mirror_status.brief()
    if not found.is_on:
        return [Check("local mirror", Severity.OFF, "off")]
    if found.problem:
        problem = found.problem
        return [
            Check("local mirror", Severity.ERROR, problem["what"], problem.get("next_step", ""))
        ]
    return [Check("local mirror", Severity.OK, f"published: {counted(found.images, 'image')}")]


def _racks() -> list[Check]:
    return [_rack(row) for row in racks.all_racks()]


def _rack(row: RackStatus) -> Check:
    problem = racks.problem_of(row)
    if problem is None:
        return Check(f"rack {row.name}", row.severity, row.text.lower())
    is_long = row.state is RackState.AWAY and offering.is_away(row.seen_at, utcnow())
    severity = Severity.ERROR if is_long else Severity.WARN
    return Check(
        f"rack {row.name}", severity, f"{problem.what[:-1]} ({problem.got}).", problem.next_step
    )


_WRONG = (Severity.WARN, Severity.ERROR)
_READ_ONLY = (
    _damage,
    _worker,
    _gpg,
    _sources,
    _rules,
    _commissioning,
    _images,
    _imports,
    _mirror,
    _racks,
)
