# SPDX-License-Identifier: Apache-2.0
"""Fetching documents in tests."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.fetch import (
    Fetched,
    Fetcher,
    FetchProblem,
    Limits,
    Route,
)

CONTENT = b'{"updated": "now"}'
# One try. Times are for servers that hang, so only tests of these shorten them.
QUICK = Limits(metadata_bytes=1 << 20, retries=0, backoff_s=0.01)


def quick(**changes: Any) -> Limits:
    return Limits(**{**QUICK.__dict__, **changes})


def problem_with(url: str, route: Route = Route(), limits: Limits = QUICK) -> FetchProblem:  # noqa: B008
    with Fetcher(route, limits) as fetcher, pytest.raises(FetchProblem) as caught:
        fetcher.metadata(url)
    assert caught.value.where or caught.value.code == "http-proxy"
    return caught.value


def fetched(url: str, route: Route = Route(), limits: Limits = QUICK) -> Fetched:  # noqa: B008
    with Fetcher(route, limits) as fetcher:
        answer = fetcher.metadata(url)
    assert isinstance(answer, Fetched)
    return answer
