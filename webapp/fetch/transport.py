# SPDX-License-Identifier: Apache-2.0
"""requests on top of our own sockets: nothing followed, decoded, stored or inherited."""

from __future__ import annotations

import functools
import http.cookiejar
import os
import ssl
import threading
from typing import Any

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from webapp.fetch.connecting import connect
from webapp.fetch.model import FetchProblem, Route
from webapp.fetch.wire import GuardedTLSSocket, current_exchange

# One for each parallel download of a source, with room to spare.
MAX_CONNECTIONS = 16


class _HTTPConnection(HTTPConnection):
    """Connect by our own means and apply the address rule to reused connections, too."""

    _peer: tuple[str, int]

    def _new_conn(self) -> Any:
        sock, address = connect(self._dns_host, self.port)
        self._peer = (address, self.port)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        current_exchange().admit(*self._peer)
        super().request(*args, **kwargs)


class _HTTPSConnection(_HTTPConnection, HTTPSConnection):
    """As _HTTPConnection."""


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
    """Use our connections and one TLS context that nothing can weaken; None speaks no TLS."""

    def __init__(
        self, context: ssl.SSLContext | None, proxy_context: ssl.SSLContext | None = None
    ) -> None:
        self._context, self._proxy_context = context, proxy_context or context
        super().__init__(pool_maxsize=MAX_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(
            proxy, ssl_context=self._context, proxy_ssl_context=self._proxy_context, **kwargs
        )
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        """Leave out what would replace our context."""
        host, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, {}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Leave the pool as it is: its context verifies always."""


class _Session(requests.Session):
    """A session that follows nothing, and reads the CAs when it first needs them.

    requests reads the whole body of a redirect to prepare the next request,
    even when it must not follow; the body may be endless.
    """

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.adapters.clear()
        self._tls = threading.Lock()
        # Reading the system's CAs takes longer than a whole request to a mirror on the LAN.
        uses_tls = bool(route.ca_file) or route.proxy_url.lower().startswith("https:")
        context = _context(route.ca_file) if uses_tls else None
        self.mount("http://", _Adapter(context))
        if context is not None:
            self.mount("https://", _Adapter(context))
        if route.client_cert and route.client_origin.startswith("https://"):
            # A proxy that is reached by TLS isn't shown the certificate.
            self.mount(route.client_origin, _Adapter(_client_context(route), context))

    def get_adapter(self, url: str | bytes) -> Any:
        """See requests."""
        with self._tls:
            if "https://" not in self.adapters and str(url).lower().startswith("https:"):
                self.mount("https://", _Adapter(_default_context()))
        return super().get_adapter(url)  # type: ignore[arg-type]

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def new_session(route: Route) -> requests.Session:
    """Make the session of one route. Raises FetchProblem for a bad CA file or proxy URL."""
    session = _Session(route)
    session.trust_env = False
    session.headers.clear()
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    if route.proxy_url:
        if not route.proxy_url.lower().startswith(("http://", "https://")):
            raise FetchProblem(
                "This kind of proxy isn't supported.",
                code="http-proxy",
                expected="http://host:port or https://host:port",
                next_step="Correct the proxy of the source.",
            )
        session.proxies = {"http": route.proxy_url, "https": route.proxy_url}
    return session


def _context(ca_file: str) -> ssl.SSLContext:
    return _trusting(ca_file) if ca_file else _default_context()


def _client_context(route: Route) -> ssl.SSLContext:
    """A context that shows the client certificate of a route. Raises FetchProblem."""
    context = _trusting(route.ca_file) if route.ca_file else _trusting_system()
    # OpenSSL reads the pair from a file only: this one is in memory and has no name.
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(f"{route.client_key}\n{route.client_cert}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except OSError as error:  # ssl.SSLError is one
        raise FetchProblem(
            "The client certificate of this source can't be used.",
            code="http-tls",
            expected="a PEM certificate and its key",
            got=error.strerror or type(error).__name__,
            next_step="Enter both again on the source's page.",
        ) from error
    finally:
        os.close(descriptor)
    return context


def _trusting(ca_file: str) -> ssl.SSLContext:
    context = _bare_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise FetchProblem(
            "The CA file of this source can't be used.",
            code="http-tls",
            where=ca_file,
            expected="a readable file with PEM certificates",
            got=error.strerror or type(error).__name__,
            next_step="Correct the path, or remove it to trust the system's CAs.",
        ) from error
    return context


@functools.cache
def _default_context() -> ssl.SSLContext:
    return _trusting_system()


def _trusting_system() -> ssl.SSLContext:
    """Trust the system's CAs, where an administrator adds his own, and certifi's.

    The paths are OpenSSL's built-in ones: SSL_CERT_FILE and its like are not read.
    """
    context = _bare_context()
    context.load_verify_locations(cafile=certifi.where())
    system = ssl.get_default_verify_paths()
    if os.path.isfile(system.openssl_cafile):
        context.load_verify_locations(cafile=system.openssl_cafile)
    if os.path.isdir(system.openssl_capath):
        context.load_verify_locations(capath=system.openssl_capath)
    return context


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = GuardedTLSSocket
    return context
