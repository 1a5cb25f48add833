# SPDX-License-Identifier: Apache-2.0
"""Who gets an image that is kept to networks and machines (rule: kept-images)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from webapp.rack import neighbours
from webapp.streams.restrictions import Restriction


class Caller(NamedTuple):
    """Who asks. name: the address that events note.

    addresses: each that the request is known to have come from: the machine's, and those of
    trusted proxies. Whoever reaches the port past the proxies can name any machine's address,
    but not hide its own.
    """

    name: str
    addresses: tuple[str, ...]


class Gate:
    """Decides by a machine's addresses, and by its MAC address where the rack knows it.

    macs_of: gives those that speak for an address.
    """

    def __init__(self, macs_of: Callable[[str], Collection[str]] = neighbours.macs_of) -> None:
        self._macs_of = macs_of

    def refusal(self, kept: Restriction, caller: Caller, mac: str = "") -> str:
        """Why a machine doesn't get an image, "" when it does: all its addresses may have it.

        mac: as the machine itself tells it, which is enough to learn what it would boot, and
        not for files; "" to ask the kernel.
        """
        reasons = (self._reason(kept, one, mac) for one in caller.addresses or ("",))
        return next(filter(None, reasons), "")

    def _reason(self, kept: Restriction, address: str, mac: str) -> str:
        if not kept.macs or kept.has_address(address):
            return kept.refusal(address, ())
        return kept.refusal(address, (mac,) if mac else self._macs_of(address))
