# SPDX-License-Identifier: Apache-2.0
"""Find the streams below an address that has none itself, such as a mirror's root."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from webapp.errors import Problem
from webapp.fetch import Fetcher, FetchProblem
from webapp.fetch.problems import shown
from webapp.streamclient.documents import NOT_THERE
from webapp.streamclient.model import StreamSource
from webapp.streamclient.samples import THERE
from webapp.streams.errors import StreamsBelow
from webapp.streams.urls import SIGNED_INDEX, join

# Where publishers of images for machines have their streams, best first.
LABELS = ("stable", "candidate", "daily")
FOLDERS = (
    *(f"ephemeral-v3/{label}" for label in LABELS),
    *LABELS,
    *(f"maas/images/ephemeral-v3/{label}" for label in LABELS),
    *(f"images/ephemeral-v3/{label}" for label in LABELS),
)
SECONDS = 10.0
WORKERS = 4


def explained(problem: FetchProblem, source: StreamSource, fetcher: Fetcher) -> Problem:
    """The problem of a source's missing index, with the streams below its address if there are any.

    Asks for the usual folders, without fetching anything, for at most ``SECONDS``.
    """
    if problem.status not in NOT_THERE or problem.where != shown(source.url.index_url):
        return problem
    found = _streams(source, fetcher)
    if not found:
        return problem
    return StreamsBelow(
        found,
        "There is no stream at this address, but there are streams below it.",
        where=problem.where,
        expected=problem.expected,
        got=problem.got,
        next_step=f"Use one of these URLs: {', '.join(found)}",
    )


def _streams(source: StreamSource, fetcher: Fetcher) -> tuple[str, ...]:
    until = time.monotonic() + SECONDS

    def is_there(folder: str) -> bool:
        left = until - time.monotonic()
        if left <= 0:
            return False
        try:
            index = join(source.url.root, f"{folder}/{SIGNED_INDEX}")
            return fetcher.head(index, total_s=left).status in THERE
        except FetchProblem:
            return False

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="nearby") as pool:
        there = list(pool.map(is_there, FOLDERS))
    pairs = zip(FOLDERS, there, strict=True)
    return tuple(f"{source.url.root}{folder}/" for folder, is_one in pairs if is_one)
