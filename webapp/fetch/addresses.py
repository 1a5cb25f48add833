# SPDX-License-Identifier: Apache-2.0
"""Which addresses may be connected to (rule: outward-redirects).

Mirrors on the LAN or on this machine are normal, so an administrator may type
private and loopback addresses. A redirect comes from a stranger: it may lead
outward, never further inward than it came from.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from webapp.fetch.model import FetchProblem

Network = IPv4Network | IPv6Network


class Reach(enum.IntEnum):
    """How far inside an address is; the higher, the more it is ours alone."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2


# Nothing a mirror could live at: "this host", link-local with the clouds' metadata
# service, multicast, reserved and broadcast, and the IPv6 forms that hide an IPv4
# address from a check like this one.
_NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "100.100.100.200/32",  # metadata services outside link-local
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "fe80::/10",
        "ff00::/8",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; how IPv6-only networks reach IPv4 mirrors


def reach_of(address: IPv4Address | IPv6Address) -> Reach | None:
    """How far inside the network an address is; None when connecting to it is forbidden."""
    if address.is_loopback and not getattr(address, "ipv4_mapped", None):
        return Reach.LOOPBACK
    if any(address in network for network in _NEVER if network.version == address.version):
        return None
    if isinstance(address, IPv6Address) and address in _NAT64:
        inner = reach_of(IPv4Address(int(address) & 0xFFFFFFFF))
        return Reach.PUBLIC if inner is Reach.PUBLIC else None
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


def written_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is when it is one in any spelling, ``0x7f.1`` included."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def is_in_clear(url: str) -> bool:
    """Whether what is sent to a URL can be read on its way: plain http to another machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    address = written_address(host)
    is_here = address.is_loopback if address else host.rstrip(".").endswith("localhost")
    return parts.scheme == "http" and not is_here


@dataclass(frozen=True)
class AddressRule:
    """The rule of one fetcher; see ``Fetcher`` for its fields."""

    deny_networks: Sequence[Network] = ()
    allow_networks: Sequence[Network] = ()
    is_https_only: bool = False
    own_ports: Collection[int] = ()

    def check_url(self, url: str, *, where: str) -> None:
        """Raise FetchProblem (https-only) for an address that isn't encrypted."""
        if self.is_https_only and is_in_clear(url):
            raise FetchProblem(
                "A setting allows only https.",
                code="https-only",
                where=where,
                expected="https://",
                got="http://",
                next_step="Use an https URL, or unset SLIPWAY_FETCH_HTTPS_ONLY.",
            )

    def check(self, text: str, port: int, *, limit: Reach | None, where: str) -> Reach:
        """Give the address's reach, or raise FetchProblem (address-refused).

        limit: the furthest inside that a redirect may lead; None for a typed URL.
        """
        address = ip_address(text.partition("%")[0])
        reach = reach_of(address)
        if reach is None:
            raise _refused("This kind of address isn't allowed.", where, address)
        if _is_in(address, self.deny_networks):
            raise _refused("This network is blocked by a setting.", where, address)
        if self.allow_networks and not _is_in(address, self.allow_networks):
            raise _refused("This network isn't among those a setting allows.", where, address)
        if limit is not None and reach > limit:
            raise _refused(
                f"A redirect led from a {limit.name.lower()} address to a "
                f"{reach.name.lower()} one.",
                where,
                address,
            )
        if limit is not None and port in self.own_ports and _is_this_machine(address):
            raise _refused("A redirect led to a port of Slipway itself.", where, address)
        return reach

    def check_host(self, host: str, port: int, *, limit: Reach | None, where: str) -> Reach:
        """Check what can be checked without a DNS lookup, for a host that a proxy connects to.

        A name counts as public, ``localhost`` as loopback. With a list of allowed networks
        a name is refused: only the proxy would know where it leads.
        """
        address = written_address(host)
        if address is not None:
            return self.check(str(address), port, limit=limit, where=where)
        if host.rstrip(".").endswith("localhost"):
            return self.check("127.0.0.1", port, limit=limit, where=where)
        if self.allow_networks:
            raise _refused("A setting allows only addresses through a proxy.", where, host)
        return Reach.PUBLIC


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(network.version == address.version and address in network for network in networks)


def _is_this_machine(address: IPv4Address | IPv6Address) -> bool:
    # Only an address of this machine can be bound; no interface list is needed.
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _refused(what: str, where: str, address: object) -> FetchProblem:
    return FetchProblem(
        what,
        code="address-refused",
        where=where,
        expected="an allowed mirror address",
        got=str(address),
        next_step="Correct the URL of the source, or ask the mirror's operator about the redirect.",
    )
