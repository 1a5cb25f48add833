# SPDX-License-Identifier: Apache-2.0
"""Partials that are stopped while their bytes are hashed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from webapp.storage.files import GrowingFile
from webapp.storage.rows import GrowingRows


@contextmanager
def stopped_after_the_first_chunk(stop: Callable[[], object]) -> Iterator[list[str]]:
    """Have ``stop`` called once the first chunk of a partial was hashed.

    It returns when whoever resumes the partial knows of the stop. Yields the list of those
    that were read on, to their end.
    """
    ended: list[str] = []

    def read(partial: GrowingFile | GrowingRows, start: int = 0) -> Iterator[bytes]:
        yield bytes(1024)
        stop()
        yield bytes(1024)
        ended.append(partial.name)

    with pytest.MonkeyPatch.context() as patched:
        for kind in (GrowingFile, GrowingRows):
            patched.setattr(kind, "read", read)
        yield ended
