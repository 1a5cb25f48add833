# SPDX-License-Identifier: Apache-2.0
"""How many connections each address has open, so that none takes them all."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import structlog
from gunicorn.workers.gthread import TConn

from webapp.server.sockets import refuse

log = structlog.get_logger(__name__)

# A proxy or a tunnel on this machine speaks for many, and so does nginx on a Unix socket.
FOR_MANY = ("", "127.0.0.1", "::1", "::ffff:127.0.0.1")
QUIET_S = 60.0  # between two lines of the log about one address
MOST_TOLD = 1000  # addresses that are remembered for this


class Refusals:
    """Tells the log of addresses that were refused, of each at most once in QUIET_S.

    most: the connections that an address may have. After MOST_TOLD addresses, others wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._told: dict[str, float] = {}  # address -> when; in this order

    def note(self, address: str) -> None:
        """One was refused."""
        now = time.monotonic()
        while self._told and next(iter(self._told.values())) <= now - QUIET_S:
            del self._told[next(iter(self._told))]
        if address in self._told or len(self._told) >= MOST_TOLD:
            return
        self._told[address] = now
        log.warning(
            "an address has too many connections",
            address=address,
            most=self._most,
            next_step="If it speaks for many machines, raise SLIPWAY_RACK_CONNECTIONS.",
        )


class Crowds:
    """Counts the open connections of each address. most: that one may have; 0: any number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._refusals = Refusals(most)
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> None:
        """One more is open."""
        self._open[address] += 1

    def leave(self, address: str) -> None:
        """One was closed."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def is_over(self, address: str) -> bool:
        """Whether this address has more of them than it may."""
        return bool(self._most) and address not in FOR_MANY and self._open[address] > self._most

    def refuse(self, guest: Guest) -> bool:
        """Whether one of too many was told so. Of an address that goes on, it isn't."""
        self._refusals.note(guest.address)
        if self._open[guest.address] > 2 * self._most:
            return False
        refuse(guest.sock, 429, "Too Many Connections", "Retry-After: 5\r\n")
        return True


class Guest(TConn):  # type: ignore[misc]
    """A connection that counts for its address until it's closed."""

    def __init__(self, crowds: Crowds, cfg: Any, sock: Any, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.address = str((client or [""])[0])
        self._crowds = crowds
        crowds.enter(self.address)

    def close(self, graceful: bool = False) -> None:
        """Close it, once."""
        self._crowds.leave(self.address)
        super().close(graceful)
