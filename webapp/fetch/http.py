# SPDX-License-Identifier: Apache-2.0
"""One request with its redirects, up to the body."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from webapp.fetch.addresses import AddressRule, is_in_clear
from webapp.fetch.answers import Answer, coding
from webapp.fetch.folders import Find, answer, is_file_url
from webapp.fetch.model import FetchProblem, Limits, Route
from webapp.fetch.problems import LIBRARY_ERRORS, checked_url, shown, translate
from webapp.fetch.transport import new_session
from webapp.fetch.wire import Exchange

REDIRECTS = {301, 302, 303, 307, 308}
PORTS = {"http": 80, "https": 443}


class _HTTPAnswer(Answer):
    """What a server answers."""

    def __init__(self, response: requests.Response, exchange: Exchange) -> None:
        super().__init__(exchange.where, response.status_code, response.headers)
        self._response = response
        self._exchange = exchange

    def readinto(self, view: memoryview) -> int:
        """See Answer."""
        try:
            with self._exchange.active():
                # http.client reads straight into our buffer; urllib3's own read
                # would make and copy a new bytes object for each piece.
                body: Any = self._response.raw._fp
                count: int = body.readinto(view)
        except LIBRARY_ERRORS as error:
            raise translate(error, self.where) from error
        return count

    def finish(self) -> None:
        """Give the connection back for the next request, after the whole body."""
        self._response.raw.release_conn()

    def close(self) -> None:
        """See Answer."""
        self._response.close()


class Requester:
    """Sends requests over one route within limits and under the address rule."""

    def __init__(
        self, route: Route, limits: Limits, rule: AddressRule, files: Find | None = None
    ) -> None:
        self.limits = limits
        self._files = files
        self._rule = rule
        self._is_proxied = bool(route.proxy_url)
        self._login = _authorization(route)
        self._is_clear_fine = route.is_clear_fine
        self._session = new_session(route)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def open(
        self,
        url: str,
        *,
        is_stopped: Callable[[], bool],
        max_bytes: int,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Send a request, follow its redirects, give the answer with its body unread.

        deadline: for everything with the body, on the monotonic clock; without one
        the headers alone have ``read_s``. Raises FetchProblem, but not for a status.
        """
        if is_file_url(url):  # as it was typed: no redirect leads to a file
            return answer(self._files, url, method, headers or {}, is_stopped)
        home = _origin(checked_url(url))
        if self._login and not self._is_clear_fine and is_in_clear(url):
            raise FetchProblem(
                "The credentials of this source would be sent over plain http.",
                code="login-in-clear",
                where=shown(url),
                expected="https, or your consent to send them over http",
                got="http://",
                next_step="Edit the source: use an https URL, or allow sending over plain http.",
            )
        is_home = True
        exchange = Exchange(shown(url), self.limits, self._rule, is_stopped, max_bytes=max_bytes)
        exchange.is_proxied = self._is_proxied
        for _ in range(self.limits.redirects + 1):
            self._rule.check_url(url, where=exchange.where)
            if self._is_proxied:
                exchange.reach = self._rule.check_host(
                    *_host(url), limit=exchange.limit, where=exchange.where
                )
            exchange.deadline = deadline or time.monotonic() + self.limits.read_s
            # Once a redirect led to another origin, credentials are no longer sent.
            is_home = is_home and _origin(url) == home
            got = self._send(exchange, method, url, headers or {}, is_home)
            if got.status not in REDIRECTS:
                exchange.deadline, exchange.is_body = deadline, True
                return _plain(got)
            with got:
                url = _target(got, url)
            exchange.where = shown(url)
            if exchange.reach is not None:
                exchange.limit = min(
                    exchange.reach, exchange.limit if exchange.limit is not None else exchange.reach
                )
        raise FetchProblem(
            "The server redirects in a loop.",
            code="http-redirect",
            where=exchange.where,
            expected=f"at most {self.limits.redirects} redirects",
            got="more",
            next_step="Enter the final URL, or ask the mirror's operator.",
        )

    def _send(
        self, exchange: Exchange, method: str, url: str, headers: dict[str, str], is_home: bool
    ) -> Answer:
        request = requests.Request(
            method,
            url,
            headers={
                "User-Agent": "slipway",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                **({"Authorization": self._login} if self._login and is_home else {}),
                **headers,
            },
        )
        try:
            with exchange.active():
                response = self._session.send(
                    request.prepare(),
                    stream=True,
                    allow_redirects=False,
                    timeout=(self.limits.connect_s, self.limits.read_s),
                    proxies=dict(self._session.proxies),
                )
        except LIBRARY_ERRORS as error:
            raise translate(error, exchange.where) from error
        return _HTTPAnswer(response, exchange)


def _authorization(route: Route) -> str:
    """The header value of a route's credentials. Raises FetchProblem."""
    if route.auth_kind == "none":
        return ""
    if route.auth_kind == "basic" and ":" not in route.username:
        pair = f"{route.username}:{route.secret}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")
    if route.auth_kind == "bearer" and re.fullmatch(r"[\x21-\x7e]+", route.secret):
        return f"Bearer {route.secret}"
    raise FetchProblem(
        "The credentials of this source can't be sent.",
        code="url-invalid",
        expected="a user name without a colon and a password, or a token without spaces",
        next_step="Enter the credentials again.",
    )


def _host(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or PORTS[parts.scheme]


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, as a prefix of all its others: ``https://host:port/``."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/".lower()


def _origin(url: str) -> tuple[str, str, int]:
    return (urlsplit(url).scheme, *_host(url))


def _target(answer: Answer, url: str) -> str:
    """Where a redirect leads. Raises FetchProblem (http-redirect)."""
    location = answer.headers.get("Location", "")
    target = urljoin(url, location.strip()).partition("#")[0]
    try:
        checked_url(target)
    except FetchProblem as problem:
        raise _bad_redirect(answer.where, problem.got) from problem
    if not location:
        raise _bad_redirect(answer.where, "no Location header")
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise _bad_redirect(answer.where, "a step down from https to http")
    return target


def _bad_redirect(where: str, got: str) -> FetchProblem:
    return FetchProblem(
        "This redirect isn't allowed.",
        code="http-redirect",
        where=where,
        expected="http:// or https:// and never from https down to http",
        got=got,
        next_step="Enter the final URL, or ask the mirror's operator.",
    )


def _plain(answer: Answer) -> Answer:
    """Refuse codings that were not requested, apart from gzip, which the reader handles."""
    found = coding(answer.headers)
    transfer = answer.headers.get("Transfer-Encoding", "chunked").strip().lower()
    if (found in ("", "identity") or answer.is_gzipped) and transfer == "chunked":
        return answer
    with answer:
        raise encoding_problem(answer.where)


def encoding_problem(where: str) -> FetchProblem:
    """The server encodes what it was asked to send as it is."""
    return FetchProblem(
        "The server sends the file encoded, which wasn't requested.",
        code="http-encoding",
        where=where,
        expected="the file as it is (Accept-Encoding: identity)",
        got="Content-Encoding or Transfer-Encoding",
        next_step="Turn off compression for these files on the mirror or the proxy.",
    )
