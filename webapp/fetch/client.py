# SPDX-License-Identifier: Apache-2.0
"""The fetcher of one source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Network, IPv6Network

from webapp.fetch.model import Fetched, FetchProblem, Head, Limits, NotModified, Route
from webapp.storage.base import BlobWriter


class Fetcher:
    """Fetches over one route within limits; threads may share it.

    on_wait: told before each pause between two tries (seconds, why).
    is_stopped: asked at most a few times a second by every request.
    denied_networks: never connected to, not even when an administrator typed it.
    own_ports: our own listeners; no redirect may lead to them on this machine.
    """

    def __init__(
        self,
        route: Route = Route(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        on_wait: Callable[[float, FetchProblem], None] | None = None,
        is_stopped: Callable[[], bool] | None = None,
        denied_networks: Sequence[IPv4Network | IPv6Network] = (),
        own_ports: Collection[int] = (),
    ) -> None:
        raise NotImplementedError

    def metadata(
        self, url: str, *, etag: str = "", last_modified: str = ""
    ) -> Fetched | NotModified:
        """Fetch a whole document of at most ``limits.metadata_bytes``."""
        raise NotImplementedError

    def head(self, url: str) -> Head:
        """Ask about a file; any final status is an answer, not an error."""
        raise NotImplementedError

    def download(
        self,
        url: str,
        open_writer: Callable[[], BlobWriter],
        *,
        size: int,
        on_bytes: Callable[[int], None] | None = None,
        is_stopped: Callable[[], bool] | None = None,
        on_retry: Callable[[FetchProblem], None] | None = None,
    ) -> None:
        """Bring one blob into a store, from where its partial stops, and commit it.

        open_writer: ``lambda: store.writer(sha256, size)``; called again when the
        file has to start over, since a discarded writer is closed. The writer is
        always closed at the end; its partial stays unless the bytes were wrong.
        on_bytes: told how many bytes of the file are there (falls to 0 when the
        file starts over). on_retry: told why before each further try.
        Raises FetchProblem (Stopped when asked to stop) and the store's problems.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError
