# SPDX-License-Identifier: Apache-2.0
"""Turn what libraries and servers say into problems; bodies and credentials are never echoed."""

from __future__ import annotations

import email.utils
import http.client
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from webapp.fetch.model import FetchProblem

MAX_URL = 8192
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
LIBRARY_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    UnicodeError,
)

_NEXT_STEPS = {
    401: "Enter the user name and password, or the token, of this source.",
    403: "Check that this server and its credentials can read the mirror.",
    404: "The mirror may be incomplete or being updated. Try later or use another mirror.",
    407: "Correct the user name and password in the proxy's URL.",
    429: "The mirror is rate-limiting requests. Try again later.",
}


def shown(url: str) -> str:
    """The URL as users may see it: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an unreadable URL"
    text = f"{parts.scheme}://{host}{parts.path}" + ("?…" if parts.query else "")
    return "".join(c if c.isprintable() else "�" for c in text[:500])


def checked_url(url: str) -> str:
    """Give the URL back if it can be fetched. Raises FetchProblem (url-invalid)."""
    reason = _url_fault(url)
    if reason:
        raise FetchProblem(
            "This URL can't be fetched.",
            code="url-invalid",
            where=shown(url),
            expected="http:// or https:// with a host, without user name and spaces",
            got=reason,
            next_step="Correct the URL.",
        )
    return url


def _url_fault(url: str) -> str:
    if len(url) > MAX_URL:
        return f"{len(url)} characters"
    if re.search(r"[^\x21-\x7e]|\\", url):
        return "a space, a backslash or a character that must be quoted"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "an invalid host or port"
    if parts.scheme not in ("http", "https"):
        return f"the scheme {parts.scheme[:20] or '(none)'}"
    if not parts.hostname:
        return "no host"
    if "@" in parts.netloc:
        return "a user name in the URL"
    return "port 0" if port == 0 else ""


def status_problem(status: int, where: str, headers: Mapping[str, str]) -> FetchProblem:
    """Say what a final status means for us."""
    try:
        name = HTTPStatus(status).phrase
    except ValueError:
        name = ""
    if where.startswith("file:") and status == 404:
        return FetchProblem(
            "The file isn't in the folder.",
            code="http-status",
            where=where,
            expected="a complete copy of the stream",
            got="no such file",
            next_step="Check the path and the medium, or copy the stream again.",
            status=status,
        )
    is_temporary = status in TEMPORARY
    usual = "The mirror has a problem. Try again later." if status >= 500 else ""
    return FetchProblem(
        "The proxy refused the request." if status == 407 else "The server refused the request.",
        code="http-proxy" if status == 407 else "http-status",
        where=where,
        expected="HTTP status 200",
        got=f"{status} {name}".strip(),
        next_step=_NEXT_STEPS.get(status, usual),
        status=status,
        is_temporary=is_temporary,
        retry_after=_retry_after(headers.get("Retry-After", "")) if is_temporary else None,
    )


def _retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date (RFC 9110 10.2.3)."""
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def html_problem(where: str, got: str) -> FetchProblem:
    """A web page came where a file was expected."""
    return FetchProblem(
        "A web page was sent instead of the file, probably by a proxy or a sign-in page.",
        code="http-html",
        where=where,
        expected="the file itself",
        got=got,
        next_step="Open the URL in a browser on this network. Set the source's proxy, "
        "or sign this server in.",
    )


def short_problem(where: str, expected: int | None, got: int) -> FetchProblem:
    """The connection ended before the body did."""
    return FetchProblem(
        "The connection ended in the middle of the file.",
        code="http-short",
        where=where,
        expected="the rest of the file" if expected is None else f"{expected} bytes",
        got=f"{got} bytes",
        next_step="Check the network between this server and the mirror.",
        is_temporary=True,
    )


def _client_problem(error: ssl.SSLError, where: str) -> FetchProblem | None:
    """What a server says of a client certificate, if it's about that."""
    reason = error.reason or ""
    if "CERTIFICATE_REQUIRED" in reason:
        return FetchProblem(
            "The server asks for a client certificate.",
            code="http-tls",
            where=where,
            expected="a client certificate that the server accepts",
            got="none",
            next_step="Add the certificate and key that the mirror's operator gave you.",
        )
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return FetchProblem(
            "The server refused the client certificate.",
            code="http-tls",
            where=where,
            expected="a client certificate that the server accepts",
            got=reason.replace("_", " ").lower(),
            next_step="Get a new certificate from the mirror's operator, and add it.",
        )
    return None


def translate(error: BaseException, where: str) -> FetchProblem:
    """Give the problem that a library's error stands for."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, FetchProblem):
            return cause
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FetchProblem(
                "The server's certificate isn't trusted.",
                code="http-tls",
                where=where,
                expected="a valid certificate for this host from a known CA",
                got=cause.verify_message,
                next_step="Check the host name and this server's clock, or set the CA file "
                "that signed it.",
            )
    if any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in chain):
        return _proxy_problem(chain, where)
    for cause in chain:
        if isinstance(cause, ssl.SSLError) and (problem := _client_problem(cause, where)):
            return problem
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return FetchProblem(
                "The TLS connection failed.",
                code="http-tls",
                where=where,
                expected="TLS 1.2 or newer",
                got=(cause.reason or "a broken connection").replace("_", " ").lower(),
                next_step="Check that the port speaks HTTPS.",
                is_temporary=True,
            )
    if any(isinstance(cause, http.client.IncompleteRead) for cause in chain):
        return short_problem(where, None, 0)
    broken = (ConnectionError, TimeoutError, http.client.RemoteDisconnected, BrokenPipeError)
    if any(isinstance(cause, broken) for cause in chain):
        return FetchProblem(
            "The connection was lost.",
            code="http-connection",
            where=where,
            next_step="Check the network between this server and the mirror.",
            is_temporary=True,
        )
    return FetchProblem(
        "The server's response isn't valid HTTP.",
        code="http-invalid",
        where=where,
        expected="an HTTP response with headers of normal size",
        got=type(chain[-1]).__name__,
        next_step="Check that the URL's port belongs to a web server.",
    )


def _proxy_problem(chain: list[BaseException], where: str) -> FetchProblem:
    found = (re.match(r"Tunnel connection failed: (\d{3})", str(cause)) for cause in chain)
    status = next((int(match[1]) for match in found if match), 0)
    return FetchProblem(
        "The proxy connection failed.",
        code="http-proxy",
        where=where,
        got=f"HTTP status {status}" if status else "",
        next_step=_NEXT_STEPS[407] if status == 407 else "Check the proxy of the source.",
        status=status,
        is_temporary=status not in (401, 403, 407),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: urllib3 keeps causes in ``reason`` and in args."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None)]
        todo += [x for x in (*inner, *current.args) if isinstance(x, BaseException)]
