# SPDX-License-Identifier: Apache-2.0
"""``/healthz`` and ``/readyz``: what load balancers and supervisors ask, without login or detail.

Alive: the process answers. Ready: it has what it needs to serve, as its plane knows. What is
wrong is in the log and in ``slipway doctor``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog

from webapp.errors import Problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ALIVE, READY = "/healthz", "/readyz"
KEPT_S = 1.0  # for which an answer counts, so that asking often costs nothing
RETRY_AFTER_S = "5"
NO_BLOB = "0" * 64  # no bytes have this digest; only a store that's there can say so

log = structlog.get_logger(__name__)


class Readiness:
    """Answers both paths in front of a WSGI application, and passes on all others.

    check: returns once the application can serve, and raises a Problem while it can't.
    """

    def __init__(self, inner: WSGIApplication, check: Callable[[], object]) -> None:
        self._inner = inner
        self._check = check
        self._checking = threading.Lock()
        self._checked_at = -KEPT_S
        self._problem: Problem | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ.get("PATH_INFO")
        if path not in (ALIVE, READY):
            return self._inner(environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            status, words = "405 Method Not Allowed", "Only GET and HEAD."
        elif path == READY and not self._is_ready():
            status, words = "503 Service Unavailable", "Not ready."
        else:
            status, words = "200 OK", "Ready." if path == READY else "Alive."
        body = f"{words}\n".encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        elif status.startswith("503"):
            headers.append(("Retry-After", RETRY_AFTER_S))
        start_response(status, headers)
        return [body] if method != "HEAD" else []

    def _is_ready(self) -> bool:
        # One request at a time asks; those beside it wait for what it learns.
        with self._checking:
            if time.monotonic() - self._checked_at >= KEPT_S:
                self._problem = self._ask()
                self._checked_at = time.monotonic()
            return self._problem is None

    def _ask(self) -> Problem | None:
        try:
            self._check()
        except Problem as problem:
            if self._problem is None or self._problem.code != problem.code:
                log.warning("not ready", **problem.as_dict())
            return problem
        return None
