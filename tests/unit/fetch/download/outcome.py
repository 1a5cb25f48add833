# SPDX-License-Identifier: Apache-2.0
"""One download and what came of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from webapp.fetch import Fetcher, FetchProblem, Limits
from webapp.storage.filesystem import FilesystemStore

CONTENT = random.Random(7).randbytes(3_000_000)
OTHER = random.Random(8).randbytes(3_000_000)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Limits(backoff_s=0.01)  # silence is waited for: tests of it shorten that


class Outcome:
    """One download with what it told on the way."""

    def __init__(
        self,
        store: FilesystemStore,
        url: str,
        *,
        limits: Limits = QUICK,
        sha256: str = SHA256,
        size: int = SIZE,
        is_stopped: Callable[[], bool] | None = None,
    ) -> None:
        self.received: list[int] = []
        self.retries: list[str] = []
        self.problem: FetchProblem | None = None
        with Fetcher(limits=limits) as fetcher:
            try:
                fetcher.download(
                    url,
                    lambda check: store.writer(sha256, size, check),
                    size=size,
                    on_bytes=self.received.append,
                    on_retry=lambda problem, seconds: self.retries.append(problem.code),
                    is_stopped=is_stopped,
                )
            except FetchProblem as problem:
                self.problem = problem
        self.code = self.problem.code if self.problem else ""


def stored(store: FilesystemStore, sha256: str = SHA256) -> bytes:
    with store.open(sha256) as reader:
        return b"".join(reader.chunks())


def partial_of(store: FilesystemStore) -> int:
    return sum(partial.received for partial in store.partials())


def begin(store: FilesystemStore, content: bytes) -> None:
    """Leave a partial behind, as a killed worker does."""
    with store.writer(SHA256, SIZE) as writer:
        writer.write(content)
