# SPDX-License-Identifier: Apache-2.0
"""Sockets that never wait blindly.

http.client and urllib3 wait inside one call for as long as a server likes to
drip. These sockets wait in short slices and ask the running ``Exchange`` after
each one: silence, speed, total time, bytes and the caller's stop are judged
in one place, for connecting, TLS, headers, chunks and bodies alike.
"""

from __future__ import annotations

import contextlib
import contextvars
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from webapp.fetch.addresses import AddressRule, Reach
from webapp.fetch.model import FetchProblem, Limits, Stopped

SLICE_S = 0.25

_T = TypeVar("_T", int, bytes)


@dataclass
class Exchange:
    """One request under way: what it may reach and cost.

    limit: see AddressRule.check. deadline: on the monotonic clock. max_bytes:
    everything received, headers and chunk framing included. is_body: from here on
    speed counts; before, the server may think. reach: where the last answer came from.
    """

    where: str
    limits: Limits
    rule: AddressRule
    is_stopped: Callable[[], bool]
    deadline: float | None = None
    max_bytes: int | None = None
    limit: Reach | None = None
    is_proxied: bool = False
    is_body: bool = False
    reach: Reach | None = None

    def __post_init__(self) -> None:
        self._asked_at = 0.0
        self._bytes = 0
        self._window_bytes = 0
        self._window_s = 0.0

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make this the exchange that the sockets of this thread ask."""
        token = _EXCHANGE.set(self)
        try:
            yield
        finally:
            _EXCHANGE.reset(token)

    def tick(self) -> None:
        """Raise Stopped or http-timeout when it is time; cheap to call often."""
        now = time.monotonic()
        if now - self._asked_at < SLICE_S:
            return
        self._asked_at = now
        if self.is_stopped():
            raise Stopped(self.where)
        if self.deadline is not None and now > self.deadline:
            raise self.timeout("The server took too long to respond.")

    def silent(self, seconds: float) -> None:
        """Judge a silence that hasn't ended."""
        self.tick()
        if seconds >= self.limits.read_s:
            raise self.timeout(f"The server sent nothing for {self.limits.read_s:g} seconds.")

    def received(self, count: int, seconds: float) -> None:
        """Judge bytes that came after so many seconds of waiting.

        Only waiting counts, so a slow disk on our side is not the server's fault.
        """
        self._bytes += count
        if self.max_bytes is not None and self._bytes > self.max_bytes:
            raise FetchProblem(
                "The server sent an endless response.",
                code="http-too-large",
                where=self.where,
                expected=f"at most {self.max_bytes} bytes with headers and framing",
                got="more",
                next_step="Ask the mirror's operator, or use another mirror.",
            )
        if self.is_body:
            self._judge_speed(count, seconds)
        self.tick()

    def _judge_speed(self, count: int, seconds: float) -> None:
        self._window_bytes += count
        self._window_s += seconds
        if self._window_s >= self.limits.speed_window_s:
            speed = self._window_bytes / self._window_s
            self._window_bytes, self._window_s = 0, 0.0
            if speed < self.limits.min_bytes_per_s:
                raise FetchProblem(
                    "The server is too slow.",
                    code="http-slow",
                    where=self.where,
                    expected=f"at least {self.limits.min_bytes_per_s} bytes a second",
                    got=f"{speed:.0f} over {self.limits.speed_window_s:g} seconds",
                    next_step="Try again later or use a nearer mirror.",
                    is_temporary=True,
                )

    def timeout(self, what: str) -> FetchProblem:
        """A timeout problem of this exchange."""
        return FetchProblem(
            what,
            code="http-timeout",
            where=self.where,
            next_step="Check the network and the proxy between this server and the mirror.",
            is_temporary=True,
        )

    def admit(self, address: str, port: int) -> None:
        """Apply the address rule to where a connection, new or kept alive, leads."""
        # A proxy was typed by an administrator, and what it connects to was judged before.
        limit = None if self.is_proxied else self.limit
        reach = self.rule.check(address, port, limit=limit, where=self.where)
        if not self.is_proxied:
            self.reach = reach


_EXCHANGE: contextvars.ContextVar[Exchange] = contextvars.ContextVar("exchange")


def current_exchange() -> Exchange:
    """The exchange of this thread."""
    return _EXCHANGE.get()


def _receive(sock: socket.socket, receive: Callable[..., _T], args: tuple[Any, ...]) -> _T:
    """Receive in slices, asking the running exchange after each."""
    exchange = _EXCHANGE.get()
    started = time.monotonic()
    if sock.gettimeout() != SLICE_S:
        sock.settimeout(SLICE_S)
    while True:
        try:
            got = receive(*args)
        except TimeoutError:
            exchange.silent(time.monotonic() - started)
        else:
            count = got if isinstance(got, int) else len(got)
            exchange.received(count, time.monotonic() - started)
            return got


class GuardedSocket(socket.socket):
    """A TCP socket that asks the running exchange."""

    def recv_into(self, *args: Any) -> int:
        return _receive(self, super().recv_into, args)

    def recv(self, *args: Any) -> bytes:
        return _receive(self, super().recv, args)


class GuardedTLSSocket(ssl.SSLSocket):
    """A TLS socket that asks the running exchange, in the handshake as well."""

    def recv_into(self, *args: Any) -> int:
        return _receive(self, super().recv_into, args)

    def recv(self, *args: Any) -> bytes:
        return _receive(self, super().recv, args)

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands within ``connect_s``."""
        exchange = _EXCHANGE.get()
        until = time.monotonic() + exchange.limits.connect_s
        try:
            while True:
                self.settimeout(SLICE_S)
                try:
                    return super().do_handshake(block)
                except TimeoutError:
                    exchange.tick()
                    if time.monotonic() > until:
                        raise exchange.timeout("The server doesn't respond over TLS.") from None
        except FetchProblem:
            self.close()
            raise
