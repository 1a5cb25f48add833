# SPDX-License-Identifier: Apache-2.0
"""Where a rack's bytes come from: mirrors in order, and which of them don't answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from webapp.fetch import Bucket, Fetcher, FetchProblem, Limits, Route

log = structlog.get_logger(__name__)

DOWN_S = 5.0  # an upstream that didn't answer isn't asked again for so long
_UNREACHABLE = {"http-connection", "http-timeout", "http-tls"}
LIMITS = Limits(connect_s=1.0, read_s=10.0, total_metadata_s=10.0, retries=0)


@dataclass(frozen=True)
class Upstream:
    """A mirror. root: its URL with a slash at the end."""

    root: str
    route: Route
    fetcher: Fetcher


class Upstreams:
    """The mirrors in their order; threads share it.

    rate: gives the bytes a second that all fetches share, 0 for no limit. route_to: how to
    reach one, with this rack's credential for its region alone.
    """

    def __init__(
        self,
        roots: Sequence[str],
        rate: Callable[[], int],
        route_to: Callable[[str], Route] = lambda root: Route(),
    ) -> None:
        self._route_to = route_to
        self._bucket = Bucket(rate)
        self._lock = threading.Lock()
        self._known: tuple[Upstream, ...] = ()
        self._region: tuple[Upstream, ...] = ()
        self._down: dict[str, float] = {}
        self._stopped = threading.Event()
        self.choose(roots)

    def choose(self, roots: Sequence[str], region: str = "") -> None:
        """Use these from the next file on; for restricted files the region's mirror alone."""
        with self._lock:
            known = {(one.root, one.route): one for one in (*self._known, *self._region)}
            wanted = [(root, self._route_to(root)) for root in (*roots, *filter(None, (region,)))]
            found = [known.get(one) or self._new(*one) for one in wanted]
            self._known = tuple(found[: len(roots)])
            # It knows enrolled racks, and this one isn't known to any other.
            self._region = tuple(one for one in found[len(roots) :] if one.route.secret)

    def all(self) -> tuple[Upstream, ...]:
        """All of them."""
        return self._known

    def and_region(self) -> tuple[Upstream, ...]:
        """All of them, and the region's mirror if it knows this rack."""
        return tuple({one.root: one for one in (*self._known, *self._region)}.values())

    def usable(self, *, is_restricted: bool = False) -> tuple[Upstream, ...]:
        """Those that aren't known to be down."""
        now = time.monotonic()
        among = self._region if is_restricted else self._known
        return tuple(one for one in among if self._down.get(one.root, 0.0) <= now)

    def note(self, upstream: Upstream, problem: FetchProblem | None) -> None:
        """Remember how an upstream did."""
        is_down = problem is not None and problem.code in _UNREACHABLE
        with self._lock:
            if not is_down:
                self._down.pop(upstream.root, None)
            else:
                self._down[upstream.root] = time.monotonic() + DOWN_S

    def close(self) -> None:
        """End all fetches."""
        self._stopped.set()

    def _new(self, root: str, route: Route) -> Upstream:
        fetcher = Fetcher(
            route, limits=LIMITS, bucket=self._bucket, is_stopped=self._stopped.is_set
        )
        return Upstream(root, route, fetcher)
