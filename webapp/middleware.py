# SPDX-License-Identifier: Apache-2.0
"""What holds for every answer and every request of the web plane.

Headers that tell browsers what a page may do, a request's id, the files of
``static/``, and the refusal of requests that another site made a browser send.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, abort, current_app, g, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix
from whitenoise import WhiteNoise

from webapp.config import ROOT, Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

STATIC = ROOT / "static"
SLASHES = re.compile("/{2,}")
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SAFE_METHODS = ("GET", "HEAD")
READY = "slipway.ready"  # in a WSGI environment: an answer that no view has to make
COOKIE_NAME = "slipway"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # pico's chevrons and ticks are data: pictures in its style sheet
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# The one script that may compile WebAssembly: a worker without a page, which hashes files.
HASHER = "/sha256-worker.js"
HASHER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
HSTS = "max-age=31536000; includeSubDomains"

log = structlog.get_logger("slipway.web")


def register(app: Flask, settings: Settings) -> None:
    """Wire all of it; ``webapp.web.access`` comes after it and decides who may see a page."""
    _configure(app, settings)
    headers = {**HEADERS, **({"Strict-Transport-Security": HSTS} if settings.is_https else {})}
    _serve_static(app, headers)
    if settings.trusted_proxies:
        # Not the host: a header that browsers can set must not change it.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app,
            x_for=settings.trusted_proxies,
            x_proto=settings.trusted_proxies,
            x_host=0,
        )
    app.before_request(_begin)
    app.before_request(_refuse_foreign)

    @app.after_request
    def _finish(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Request-ID"] = g.get("request_id", "")
        _log(response)
        return response


def protect_forms(app: Flask, is_exempt: Callable[[str], bool]) -> None:
    """Ask every form for its token; runs after the visitor's rights were checked.

    is_exempt: whether the cookie means nothing on a path.
    """
    csrf = CSRFProtect()
    csrf.init_app(app)

    @app.before_request
    def _check() -> None:
        if not is_exempt(request.path):
            csrf.protect()


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        SESSION_COOKIE_NAME=f"__Host-{COOKIE_NAME}" if settings.is_https else COOKIE_NAME,
        SESSION_COOKIE_SECURE=settings.is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        MAX_CONTENT_LENGTH=1 << 20,
        MAX_FORM_MEMORY_SIZE=1 << 20,
        MAX_FORM_PARTS=5000,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        WTF_CSRF_CHECK_DEFAULT=False,  # protect_forms calls it in the right order
        WTF_CSRF_TIME_LIMIT=None,  # pages stay open; the token ends with the session
        WTF_CSRF_SSL_STRICT=False,  # _refuse_foreign checks Origin, also without TLS
    )
    # itsdangerous signs with SHA-1 where nothing else is said.
    cast(SecureCookieSessionInterface, app.session_interface).digest_method = hashlib.sha256
    # A redirect to the path with or without a slash would be built from the Host header.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False


def merge_slashes(app: Flask) -> None:
    """Take a run of slashes in a path for one, as web servers and file systems do.

    Configurations join an address that ends in a slash and a path that begins with one.
    """
    inner = app.wsgi_app

    def merged(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "//" in environ.get("PATH_INFO", ""):
            environ["PATH_INFO"] = SLASHES.sub("/", environ["PATH_INFO"])
        return inner(environ, start_response)

    app.wsgi_app = merged  # type: ignore[method-assign]


# -- static files


def _serve_static(app: Flask, headers: dict[str, str]) -> None:
    """Serve ``static/``; below a name made of its content it may be cached for ever."""
    version = _content_hash(STATIC)
    prefix = f"static/{version}/"

    flask = app.wsgi_app
    static = WhiteNoise(
        flask,
        allow_all_origins=False,
        max_age=3600,
        immutable_file_test=lambda _path, url: url.startswith(f"/{prefix}"),
    )
    static.add_files(str(STATIC), prefix=prefix)
    static.add_files(str(STATIC), prefix="static/")

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # RFC 9112 section 3.2 asks for a Host from HTTP/1.1 on.
        host = environ.get("HTTP_HOST", "")
        may_lack = not host and environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
        if not may_lack and not _is_host(host):
            text = b"The Host header is missing or doesn't name a host.\n"
            kind = ("Content-Type", "text/plain; charset=utf-8")
            start_response("400 Bad Request", [kind, *headers.items()])
            return (text,)
        if not environ.get("PATH_INFO", "").startswith("/static/"):
            return flask(environ, start_response)

        is_hasher = environ["PATH_INFO"].endswith(HASHER)
        mine = {**headers, "Content-Security-Policy": HASHER_POLICY} if is_hasher else headers

        def with_headers(
            status: str, answer: list[tuple[str, str]], *rest: Any
        ) -> Callable[[bytes], object]:
            # WhiteNoise's own hook leaves out its refusals; Flask's 404 has them already.
            known = {name.lower() for name, _ in answer}
            missing = [(n, v) for n, v in mine.items() if n.lower() not in known]
            return start_response(status, [*answer, *missing], *rest)

        return cast("Iterable[bytes]", static(environ, with_headers))

    app.wsgi_app = serve  # type: ignore[method-assign]
    app.jinja_env.globals["static_url"] = lambda name: f"/{prefix}{name}"


def _is_host(value: str) -> bool:
    """Whether a Host header can be one: Werkzeug breaks on labels that IDNA does not know."""
    if len(value) > 300 or not HOST.fullmatch(value):
        return False
    name = "" if value.startswith("[") else value.partition(":")[0].removesuffix(".")
    return all(0 < len(label) < 64 for label in name.split(".")) if name else value[0] == "["


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


# -- every request


def _begin() -> Response | None:
    """Give the request a name that its log lines and its answer carry."""
    g.began = time.monotonic()
    g.request_id = secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        request_id=g.request_id, address=request.remote_addr or "", user=""
    )
    ready: Response | None = request.environ.get(READY)
    if ready is None and request.method not in METHODS:
        raise MethodNotAllowed(valid_methods=METHODS)
    return ready


def _refuse_foreign() -> None:
    """Refuse a change that another site made the browser ask for (ASVS 5.0, 3.5).

    Browsers say where a request comes from; programs without a browser say
    nothing and have no cookie that could be abused.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        abort(403, description="foreign-origin")
    origin = request.headers.get("Origin")
    if origin is not None and not _is_own(origin):
        abort(403, description="foreign-origin")


def _is_own(origin: str) -> bool:
    settings = current_app.extensions["slipway.settings"]
    try:
        host = urlsplit(origin).netloc.lower() if origin.startswith(("http://", "https://")) else ""
    except ValueError:  # half an IPv6 address
        return False
    return bool(host) and host in (
        request.host.lower(),
        urlsplit(settings.public_url).netloc.lower(),
    )


def _log(response: Response) -> None:
    """One line for what changes or fails; the path only, since a query may hold a code."""
    is_routine = request.method in SAFE_METHODS or g.get("is_routine", False)
    is_quiet = is_routine and response.status_code < 400
    write = log.debug if is_quiet else log.info
    write(
        "answered",
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=round((time.monotonic() - g.get("began", time.monotonic())) * 1000),
    )
