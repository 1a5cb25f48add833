# SPDX-License-Identifier: Apache-2.0
"""The state of the system as Prometheus reads it, in the words of ``slipway doctor``.

Computed from the database when it's asked for, in a fixed number of queries whatever is
stored, and without a look at the network, the keyrings or the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from webapp.extensions import db
from webapp.models import (
    ACTIVE_STATES,
    OPEN_UPLOADS,
    Blob,
    BlobState,
    BootResource,
    BootSource,
    FileTransfer,
    ImportRun,
    ResourceType,
    RunState,
    Setting,
    Upload,
    utcnow,
)
from webapp.services.overview.health import WORKER_SEEN
from webapp.services.racks import listing as racks
from webapp.services.racks.listing import RackState
from webapp.services.sources import announcing, commissioning, sources
from webapp.services.sources import health as source_health
from webapp.services.sources.health import SourceState

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ENDED = tuple(state for state in RunState if state not in ACTIVE_STATES)


class Collector:
    """Gives prometheus_client every figure; a registry asks it once a scrape."""

    def collect(self) -> Iterator[Metric]:
        """Every figure."""
        now = utcnow()
        yield from _sources(now)
        yield from _imports(now)
        yield from _images()
        yield from _blobs()
        yield from _racks(now)
        yield from _system(now)


def text() -> bytes:
    """All figures in Prometheus's text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def _gauge(name: str, words: str, samples: Iterable[tuple[dict[str, str], float | None]]) -> Metric:
    """A gauge with a sample for each set of labels; None leaves one out."""
    from prometheus_client.core import Metric

    found = Metric(f"slipway_{name}", words, "gauge")
    for labels, value in samples:
        if value is not None:
            found.add_sample(f"slipway_{name}", labels, value)
    return found


def _age(at: datetime | None, now: datetime) -> float | None:
    return max(0.0, (now - at).total_seconds()) if at else None


def _sources(now: datetime) -> Iterator[Metric]:
    rows = sources.all_sources()
    named = [({"source": str(row.id), "url": row.url}, row) for row in rows]
    told = announcing.everything()
    judged = [(labels, row, source_health.judge(row, now).state) for labels, row in named]
    yield _gauge(
        "source_state",
        "1 for the state that a boot source is in",
        (
            ({**labels, "state": str(state)}, float(state == found))
            for labels, _, found in judged
            for state in SourceState
        ),
    )
    yield _gauge(
        "source_last_good_check_age_seconds",
        "Seconds since a boot source was last read without a problem",
        ((labels, _age(row.refreshed_at, now)) for labels, row in named),
    )
    yield _gauge(
        "source_key_expiry_seconds",
        "Seconds until the key that signs a boot source expires, once that's soon",
        ((labels, _expiry(row, now)) for labels, row in named),
    )
    yield _gauge(
        "source_skipped_products",
        "Products and versions of a boot source that aren't used (at most 200)",
        ((labels, len(row.left_out)) for labels, row in named),
    )
    yield _gauge(
        "source_notices",
        "Announcements of a boot source's publisher",
        ((labels, len(told.of(row))) for labels, row in named),
    )
    yield _gauge(
        "source_warnings",
        "Warnings of the last check of a boot source",
        ((labels, len(row.warnings)) for labels, row in named),
    )


def _expiry(row: BootSource, now: datetime) -> float | None:
    for one in row.warnings:
        if one["code"] == SourceState.KEY_EXPIRES:
            day = datetime.fromisoformat(str(one["got"])).replace(tzinfo=UTC)
            return max(0.0, (day - now).total_seconds())
    return 0.0 if row.error_code == "key-expired" else None


def _imports(now: datetime) -> Iterator[Metric]:
    columns = (ImportRun.state, func.count(), func.max(ImportRun.finished_at))
    runs = {
        state: (count, last)
        for state, count, last in db.session.execute(select(*columns).group_by(ImportRun.state))
    }
    yield _gauge(
        "import_runs",
        "Imports in the history by how they ended",
        (({"outcome": str(state)}, runs.get(state, (0, None))[0]) for state in ENDED),
    )
    yield _gauge(
        "import_queue",
        "Imports that wait or run",
        (({"state": str(state)}, runs.get(state, (0, None))[0]) for state in ACTIVE_STATES),
    )
    good = runs.get(RunState.SUCCEEDED, (0, None))[1]
    yield _gauge(
        "import_last_good_age_seconds",
        "Seconds since an import last succeeded",
        [({}, _age(good, now))],
    )
    retries = select(func.coalesce(func.sum(FileTransfer.retries), 0))
    yield _gauge(
        "import_retries",
        "Downloads in the history that were tried again",
        [({}, float(db.session.scalar(retries) or 0))],
    )


def _images() -> Iterator[Metric]:
    columns = (BootResource.rtype, func.count())
    is_served = BootResource.current_set_id.is_not(None)
    found = db.session.execute(select(*columns).where(is_served).group_by(BootResource.rtype))
    counts = {kind: count for kind, count in found}
    yield _gauge(
        "images",
        "Boot resources that machines can get",
        (({"type": str(kind)}, counts.get(kind, 0)) for kind in ResourceType),
    )
    words, _ = commissioning.trouble()
    yield _gauge(
        "commissioning_ok",
        "0 while the commissioning release isn't selected or isn't offered",
        [({}, float(not words))],
    )


def _blobs() -> Iterator[Metric]:
    columns = (Blob.state, func.count(), func.coalesce(func.sum(Blob.size), 0))
    found = db.session.execute(select(*columns).group_by(Blob.state))
    held = {state: (count, size) for state, count, size in found}
    yield _gauge(
        "blobs",
        "Stored files by state; bad ones are damaged and not served",
        (({"state": str(state)}, held.get(state, (0, 0))[0]) for state in BlobState),
    )
    yield _gauge(
        "blob_bytes",
        "Their bytes",
        (({"state": str(state)}, float(held.get(state, (0, 0))[1])) for state in BlobState),
    )


def _racks(now: datetime) -> Iterator[Metric]:
    named = [({"rack": row.name}, row) for row in racks.all_racks()]
    yield _gauge(
        "rack_state",
        "1 for the state that a rack on another machine is in",
        (
            ({**labels, "state": str(state)}, float(state == row.state))
            for labels, row in named
            for state in RackState
        ),
    )
    yield _gauge(
        "rack_seen_age_seconds",
        "Seconds since a rack was last seen",
        ((labels, _age(row.seen_at, now)) for labels, row in named),
    )
    yield _gauge(
        "rack_states_behind",
        "Changes of the images that a rack doesn't hold yet",
        ((labels, max(0.0, row.published_serial - row.held_serial)) for labels, row in named),
    )
    yield _gauge("rack_bytes", "Bytes in the store of a rack",
                 ((labels, row.bytes) for labels, row in named))  # fmt: skip
    yield _gauge("rack_sent_bytes", "Bytes that a rack sent to machines since it was enrolled",
                 ((labels, row.sent_bytes) for labels, row in named))  # fmt: skip
    yield _gauge(
        "rack_requests",
        "Requests to a rack since it was enrolled, by whether its store had the file",
        (
            ({**labels, "result": result}, float(count))
            for labels, row in named
            for result, count in (("hit", row.hits), ("miss", row.misses))
        ),
    )


def _system(now: datetime) -> Iterator[Metric]:
    seen = db.session.scalar(select(Setting.value).where(Setting.key == WORKER_SEEN))
    at = datetime.fromisoformat(seen) if seen else None
    yield _gauge("worker_seen_age_seconds", "Seconds since the worker was last seen",
                 [({}, _age(at, now))])  # fmt: skip
    is_open = Upload.state.in_(OPEN_UPLOADS)
    uploads = db.session.scalar(select(func.count()).select_from(Upload).where(is_open))
    yield _gauge("uploads_open", "Uploads that aren't finished", [({}, float(uploads or 0))])
