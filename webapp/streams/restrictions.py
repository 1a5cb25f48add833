# SPDX-License-Identifier: Apache-2.0
"""To which networks and machines an image is kept: read, written and decided from values alone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

MAX_ENTRIES = 50  # networks and MAC addresses together
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAC = re.compile(r"[0-9a-f]{12}", re.ASCII)
_GROUP = 1  # this bit of the first byte: multicast, and broadcast


@dataclass(frozen=True, slots=True)
class Restriction:
    """Who may have an image: whoever is in one of the networks or has one of the MAC addresses.

    networks: as ``192.0.2.0/24``; macs: as ``52:54:00:12:34:56``. Without either: no one.
    """

    networks: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()

    def has_address(self, address: str) -> bool:
        """Whether an address is in one of the networks; one that can't be read isn't."""
        found = read_address(address)
        return found is not None and any(found in one for one in _parsed(self.networks))

    def refusal(self, address: str, macs: Collection[str]) -> str:
        """Why a machine doesn't get the image, "" when it does.

        address: its own, "" when it isn't known. macs: those that it has, as far as known.
        With several, each has to be permitted.
        """
        if self.has_address(address):
            return ""
        if macs and all(mac in self.macs for mac in macs):
            return ""
        where = f"{address} is" if read_address(address) else "Its address isn't known, so it's"
        if not self.macs:
            return f"{where} in none of the image's networks."
        if not macs:
            known = "its MAC address isn't known here, since it isn't on the rack's own network"
            return f"{where} in none of the image's networks, and {known}."
        return f"{where} in none of the image's networks, and {', '.join(macs)} isn't permitted."

    def covers(self, other: Restriction | None) -> bool:
        """Whether all that may have the image by another restriction may by this one, too."""
        if other is None:
            return False
        own = _parsed(self.networks)
        return set(other.macs) <= set(self.macs) and all(
            any(_is_within(one, wider) for wider in own) for one in _parsed(other.networks)
        )

    @property
    def words(self) -> str:
        """All of it, for people."""
        return ", ".join((*self.networks, *self.macs))


def read_mac(text: str) -> str:
    """A MAC address as ``52:54:00:12:34:56``, however it was written; "" for other text."""
    digits = text.strip().lower()
    for mark in ":-.":
        digits = digits.replace(mark, "")
    if not _MAC.fullmatch(digits):
        return ""
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def read_address(text: str) -> Address | None:
    """An address; IPv4 also where IPv6 carries it, and without the name of an interface."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def read_network(text: str) -> str:
    """A network as it's stored. Raises ValueError, in words for people."""
    text = text.strip()
    address, slash, _ = text.partition("/")
    try:
        found = ipaddress.ip_network(text, strict=False)
        first = ipaddress.ip_address(address)
    except ValueError:
        example = "Enter one such as 192.0.2.0/24 or 2001:db8::/32."
        raise ValueError(f"{text[:60]!a} isn't a network. {example}") from None
    if "%" in text:
        raise ValueError(f"{text[:60]!a} names an interface. Enter the network alone.")
    if slash and first != found.network_address:
        raise ValueError(f"{text} is an address in a network. Enter {found}, or {first}.")
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped:
        raise ValueError(f"{text} is an IPv4 network. Enter it as IPv4 writes it.")
    if not found.prefixlen:
        raise ValueError(f"{text} is everyone. Lift the restriction instead.")
    return str(found)


def read_machine(text: str) -> str:
    """The MAC address of one machine as it's stored. Raises ValueError, in words for people."""
    found = read_mac(text)
    if not found:
        raise ValueError(f"{text[:60]!a} isn't a MAC address. Enter one such as 52:54:00:12:34:56.")
    if int(found[:2], 16) & _GROUP or not int(found.replace(":", ""), 16):
        raise ValueError(f"{found} isn't the address of one machine. Enter a machine's own.")
    return found


def checked(networks: Iterable[str], macs: Iterable[str]) -> Restriction:
    """A restriction from what a region wrote. Raises ValueError."""
    found = Restriction(tuple(map(read_network, networks)), tuple(map(read_machine, macs)))
    if not 0 < len(found.networks) + len(found.macs) <= MAX_ENTRIES:
        raise ValueError(f"not 1 to {MAX_ENTRIES} networks and MAC addresses")
    return found


@lru_cache(maxsize=256)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, networks))


def _is_within(one: Network, wider: Network) -> bool:
    return (
        one.version == wider.version
        and one.prefixlen >= wider.prefixlen
        and one.network_address in wider
    )
