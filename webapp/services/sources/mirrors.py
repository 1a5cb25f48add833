# SPDX-License-Identifier: Apache-2.0
"""The mirrors of a source: further addresses of the same signed stream.

Digests and signatures protect, wherever bytes come from, and credentials go to the
source's own host alone (rule: mirrors-prove-nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from sqlalchemy import update

from webapp.extensions import db
from webapp.fetch import Fetcher, FetchProblem, Stopped
from webapp.models import BootSource, utcnow
from webapp.services.sources import sources
from webapp.streams.urls import join, normalise

PROBE_BYTES = 512 << 10
PROBE_S = 5.0

Route = tuple[str, Fetcher]


def routes(
    source: BootSource,
    is_stopped: Callable[[], bool] | None = None,
    *,
    retries: int | None = None,
) -> list[Route]:
    """The roots of the source and its mirrors with their fetchers, its own address first."""
    draft = sources.draft_of(source)
    found = []
    for url in (source.url, *source.mirrors):
        own = replace(draft, url=url)
        if _origin(url) != _origin(source.url):
            own = replace(own, auth_kind="none", auth_username="", auth_secret="")
        found.append((normalise(url).root, sources.fetcher_of(own, is_stopped, retries=retries)))
    return found


def fastest_first(
    source: BootSource, path: str, is_stopped: Callable[[], bool] | None = None
) -> list[Route]:
    """The routes to download by, measured with the start of one file, the fastest first.

    Those that don't answer come last. Each is tried once in turn, then again with
    patience. A source without mirrors isn't measured. Saves what was measured.
    """
    patient = routes(source, is_stopped)
    if len(patient) == 1:
        return patient
    quick = routes(source, is_stopped, retries=0)
    measured = {root: _measure(fetcher, join(root, path)) for root, fetcher in quick}
    at = utcnow().isoformat()
    speeds = [
        {"url": root, "bytes_per_s": speed, "problem": problem, "measured_at": at}
        for root, (speed, problem) in measured.items()
    ]
    # updated_at means "changed by a person" and guards refreshes, so it is kept as it is.
    db.session.execute(
        update(BootSource)
        .where(BootSource.id == source.id)
        .values(mirror_speeds=speeds, updated_at=BootSource.updated_at)
    )
    db.session.commit()
    ranks = {
        root: number
        for number, root in enumerate(sorted(measured, key=lambda root: -measured[root][0]))
    }
    return [
        *sorted(quick, key=lambda route: ranks[route[0]]),
        *sorted(patient, key=lambda route: ranks[route[0]]),
    ]


def _measure(fetcher: Fetcher, url: str) -> tuple[int, str]:
    """Bytes a second, and why it's nought."""
    try:
        return fetcher.measure(url, max_bytes=PROBE_BYTES, total_s=PROBE_S), ""
    except Stopped:
        raise
    except FetchProblem as problem:
        return 0, f"{problem.what} {problem.got}".strip()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()
