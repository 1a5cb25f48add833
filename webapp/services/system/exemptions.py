# SPDX-License-Identifier: Apache-2.0
"""Which hosts are reached directly beside a proxy for all. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

MAX_ENTRIES = 100
_NAME = re.compile(r"\*|[.]?[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}", re.ASCII)


def parse(text: str) -> tuple[str, ...]:
    """Entries as in ``no_proxy``: hosts, ``.domains``, addresses and networks, or ``*``.

    Raises ValueError.
    """
    entries = tuple(re.split(r"[\s,]+", text.strip().lower())) if text.strip(" ,") else ()
    found = tuple(entry for entry in entries if entry)
    if len(found) > MAX_ENTRIES:
        raise ValueError(f"Enter at most {MAX_ENTRIES} hosts")
    for entry in found:
        if _network(entry) is None and not _NAME.fullmatch(entry):
            raise ValueError(
                f"{entry[:60]!r} isn't a host, a domain, an address or a network, "
                "e.g. mirror.lab, .lab, 10.0.0.0/8"
            )
    return found


def is_exempt(url: str, entries: tuple[str, ...]) -> bool:
    """Whether a URL's host is this machine, or one of the entries; names aren't looked up."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return any(
            entry == "*" or host == entry.lstrip(".") or host.endswith("." + entry.lstrip("."))
            for entry in entries
            if _network(entry) is None
        )
    networks = [network for entry in entries if (network := _network(entry)) is not None]
    is_inside = any(address in one for one in networks if one.version == address.version)
    return address.is_loopback or "*" in entries or is_inside


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None
