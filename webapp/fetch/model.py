# SPDX-License-Identifier: Apache-2.0
"""What a fetch takes, what it returns and what can go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from webapp.errors import Problem


@dataclass(frozen=True)
class Route:
    """How to reach one source: proxy, trusted CA, client certificate, credentials.

    proxy_url: ``http://[user:password@]host:port``; "" connects directly.
    ca_file: PEM file with the only CAs to trust; "" trusts the system's.
    client_cert, client_key: PEM texts that are shown to ``client_origin`` alone,
    ``https://host:port/``, e.g. not where a redirect leads; "" for none.
    auth_kind: ``none``, ``basic`` (username, secret) or ``bearer`` (secret).
    is_clear_fine: credentials may leave this machine over plain http.
    """

    proxy_url: str = field(default="", repr=False)
    ca_file: str = ""
    client_cert: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)
    client_origin: str = ""
    auth_kind: str = "none"
    username: str = ""
    secret: str = field(default="", repr=False)
    is_clear_fine: bool = False


@dataclass(frozen=True)
class Limits:
    """Bounds on what a stranger can cost us; sizes in bytes, times in seconds.

    read_s: longest silence. total_metadata_s: whole time of one metadata answer,
    redirects included. min_bytes_per_s: slowest download, judged over each
    speed_window_s of waiting. retries: tries after the first one; a try that
    brought a good part of the file does not count. The pause before try n is
    random up to ``backoff_s * 2**n``, at most backoff_max_s; a server's
    Retry-After is obeyed up to retry_after_max_s.
    """

    metadata_bytes: int = 64 << 20
    connect_s: float = 10.0
    read_s: float = 60.0
    total_metadata_s: float = 120.0
    min_bytes_per_s: int = 8 << 10
    speed_window_s: float = 30.0
    redirects: int = 5
    retries: int = 4
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    retry_after_max_s: float = 120.0


@dataclass(frozen=True)
class Fetched:
    """A whole metadata document; ``url`` is where it finally came from."""

    content: bytes
    etag: str
    last_modified: str
    url: str


@dataclass(frozen=True)
class NotModified:
    """The document is still the one that the validators named."""

    url: str


@dataclass(frozen=True)
class Head:
    """What a server states about a file without sending it; size is None if not stated."""

    status: int
    size: int | None


class FetchProblem(Problem):
    """Something went wrong between us and the server.

    Codes: http-status (see ``status``), http-timeout, http-slow, http-connection,
    http-short, http-tls, http-proxy, http-redirect, http-too-large, http-encoding,
    http-html, http-invalid, url-invalid, address-refused, size-mismatch,
    hash-mismatch, stopped.
    is_temporary: trying again may help. retry_after: seconds that the server asked for.
    """

    code = "http"

    def __init__(
        self,
        what: str,
        *,
        code: str | None = None,
        where: str = "",
        expected: str = "",
        got: str = "",
        next_step: str = "",
        status: int = 0,
        is_temporary: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            what, code=code, where=where, expected=expected, got=got, next_step=next_step
        )
        self.status = status
        self.is_temporary = is_temporary
        self.retry_after = retry_after


class Stopped(FetchProblem):
    """The caller asked to stop; what was received is kept."""

    code = "stopped"

    def __init__(self, where: str = "") -> None:
        super().__init__("Stopped by user.", where=where)
