# SPDX-License-Identifier: Apache-2.0
"""From a host name to a connection with one of its checked addresses."""

from __future__ import annotations

import errno
import os
import queue
import select
import socket
import threading
import time
from typing import Any

from webapp.fetch.addresses import written_address
from webapp.fetch.model import FetchProblem
from webapp.fetch.wire import SLICE_S, Exchange, GuardedSocket, current_exchange

MAX_ADDRESSES = 8


def connect(host: str, port: int) -> tuple[socket.socket, str]:
    """Connect to a checked address of host; give the socket and the address.

    Every address that the name has must pass the rule, and exactly those are
    tried: the name is not resolved again (DNS rebinding).
    """
    exchange = current_exchange()
    found = _resolve(host, port, exchange)
    for _, address in found:
        exchange.admit(str(address[0]), port)
    last: OSError | None = None
    for family, address in found[:MAX_ADDRESSES]:
        sock = GuardedSocket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _connect_within(sock, address, exchange)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            sock.settimeout(exchange.limits.connect_s)
            return sock, str(address[0])
    if isinstance(last, TimeoutError):
        raise exchange.timeout(f"No connection within {exchange.limits.connect_s:g} seconds.")
    reason = last.strerror if last and last.strerror else "no address answered"
    whom = "proxy" if exchange.is_proxied else "server"
    raise FetchProblem(
        f"Can't reach the {whom}.",
        code="http-proxy" if exchange.is_proxied else "http-connection",
        where=exchange.where,
        got=reason,
        next_step=f"Check the {whom}'s address, that it is running, and the firewall.",
        is_temporary=True,
    ) from last


def _connect_within(sock: socket.socket, address: Any, exchange: Exchange) -> None:
    """Connect in slices; raises TimeoutError after ``connect_s``, or OSError."""
    until = time.monotonic() + exchange.limits.connect_s
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while not poll.poll(SLICE_S * 1000):
            exchange.tick()
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "timed out")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _resolve(host: str, port: int, exchange: Exchange) -> list[tuple[int, Any]]:
    """Resolve a name, within ``connect_s``."""
    literal = written_address(host)
    if literal is not None:
        return _lookup(str(literal), port)
    # The system's resolver cannot be interrupted, so it gets a thread that may be left behind.
    answers: queue.SimpleQueue[list[tuple[int, Any]]] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: answers.put(_lookup(host, port)), name="resolve", daemon=True
    )
    thread.start()
    until = time.monotonic() + exchange.limits.connect_s
    while True:
        try:
            found = answers.get(timeout=SLICE_S)
            break
        except queue.Empty:
            exchange.tick()
            if time.monotonic() > until:
                raise exchange.timeout("DNS doesn't respond.") from None
    if not found:
        raise FetchProblem(
            "Host not found.",
            code="http-connection",
            where=exchange.where,
            expected="a name that DNS resolves",
            got=host,
            next_step="Check the spelling of the URL and this server's DNS.",
            is_temporary=True,
        )
    return found


def _lookup(host: str, port: int) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [(family, address) for family, _, _, _, address in found]
