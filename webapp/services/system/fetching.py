# SPDX-License-Identifier: Apache-2.0
"""Fetchers that keep to our limits: networks that are forbidden, ports of our own, sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from webapp.extensions import settings
from webapp.fetch import Fetcher, Folders, Limits, Route
from webapp.services.system import bandwidth

LOADED = "loaded"  # in the data folder: streams of bundles, which were verified when loaded


def folders() -> Folders:
    """The folders that may be boot sources."""
    return Folders((*settings().file_sources, settings().data_dir / LOADED))


def fetcher(
    route: Route,
    is_stopped: Callable[[], bool] | None = None,
    *,
    retries: int | None = None,
    files: Folders | None = None,
) -> Fetcher:
    """A fetcher for one way to a server.

    retries: of its limits, the usual ones if None. files: where it may read files; None
    for nowhere.
    """
    known = settings()
    limits = Limits(metadata_bytes=known.metadata_max_mb << 20)
    return Fetcher(
        route,
        limits if retries is None else replace(limits, retries=retries),
        is_stopped=is_stopped,
        deny_networks=known.deny_networks,
        allow_networks=known.allow_networks,
        is_https_only=known.fetch_https_only,
        own_ports=[int(bind.rpartition(":")[2]) for bind in (known.web_bind, known.rack_bind)],
        bucket=bandwidth.bucket(),
        files=files,
    )
