# SPDX-License-Identifier: Apache-2.0
"""Single values of a configuration, each checked where it is read.

Every function returns the value; an unusable one becomes an error and gives nothing.
"""

from __future__ import annotations

import ipaddress
import re

from webapp.vmware.model import ERROR, IP, STOPS, WARNING, Address, Config, Link, shown
from webapp.vmware.reading import Place, Value

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")


def mac(config: Config, value: Value | None) -> str:
    """A MAC address in lower case with colons."""
    if value is None:
        return ""
    text = (value.text or "").lower().replace("-", ":")
    if _MAC.fullmatch(text):
        return text
    config.find(
        ERROR,
        "mac",
        f"{shown(value)} isn't a MAC address.",
        value.place,
        "It matches no NIC of the host.",
        "Write it as 52:54:00:12:34:56.",
    )
    return ""


def link_mac(config: Config, link: Link, value: Value | None) -> None:
    """Give a link its MAC address, or note that the given one is wrong."""
    link.mac = mac(config, value)
    link.has_wrong_match = value is not None and not link.mac


def number(
    config: Config, value: Value | None, bounds: range, code: str, what: str, happens: str
) -> int | None:
    """A whole number within bounds. A leading zero is refused: some readers take it for octal."""
    if value is None:
        return None
    text = value.text or ""
    if _NUMBER.fullmatch(text) and int(text) in bounds:
        return int(text)
    fix = f"Use a number from {bounds.start} to {bounds.stop - 1}."
    config.find(ERROR, code, f"{shown(value)} isn't {what}.", value.place, happens, fix)
    return None


def mtu(config: Config, value: Value | None) -> int | None:
    """An MTU that ESXi accepts (rule: esxi-mtu)."""
    happens = "The host refuses the command."
    return number(config, value, range(1280, 9001), "mtu", "an MTU that ESXi accepts", happens)


def vlan_id(config: Config, value: Value | None) -> int | None:
    """A VLAN ID that separates; a portgroup takes 0 and 4095 too, which mean none and all."""
    happens = "The host refuses the command, or takes 0 for no VLAN and 4095 for all of them."
    return number(config, value, range(1, 4095), "vlan", "a VLAN ID", happens)


def address(config: Config, value: Value, mask: str = "") -> Address | None:
    """An address with its prefix length (rule: esxi-subnet-addresses).

    mask: a netmask or prefix length given apart.
    """
    text = value.text or ""
    if "/" not in text and mask:
        text = f"{text}/{mask.removeprefix('/')}"
    if text.startswith("None"):
        config.find(
            ERROR,
            "address",
            "The address isn't allocated yet.",
            value.place,
            STOPS,
            "Allocate the address first: start the deployment, or choose a static one.",
        )
        return None
    try:
        found = ipaddress.ip_interface(with_prefix(text))
        problem = _unusable(found) if "/" in text else "has no prefix length"
        problem = "names an interface after the %" if "%" in text else problem
    except ValueError:
        problem = "isn't an address with a prefix length"
    if not problem:
        return found
    fix = "Write it as 10.0.0.5/24 or 2001:db8::5/64."
    config.find(ERROR, "address", f"{shown(value)} {problem}.", value.place, STOPS, fix)
    return None


def _unusable(found: Address) -> str:
    """Why a host can't have this address; empty when it can."""
    network = found.network
    if network.prefixlen == 0:
        return "has a prefix length of 0, which is every address there is"
    is_mapped = isinstance(found, ipaddress.IPv6Interface) and found.ip.ipv4_mapped is not None
    if is_mapped or found.ip.is_unspecified or found.ip.is_multicast or found.ip.is_loopback:
        return "can't be the address of an interface"
    if (
        network.version == 4
        and network.prefixlen < 31
        and found.ip in (network.network_address, network.broadcast_address)
    ):
        return f"is the network or broadcast address of {network}"
    return ""


def with_prefix(text: str) -> str:
    """An address or network whose IPv6 netmask is written as a prefix length.

    Raises ValueError when the netmask has gaps.
    """
    base, slash, mask = text.partition("/")
    if ":" not in mask:
        return text
    bits = int(ipaddress.IPv6Address(mask))
    length = bits.bit_count()
    if bits != (1 << 128) - (1 << (128 - length)):
        raise ValueError("an IPv6 netmask with gaps")
    return f"{base}{slash}{length}"


def ip(config: Config, value: Value | None, what: str, place: Place) -> IP | None:
    """An address without prefix length; one that has it anyway loses it.

    what: with its article, e.g. "a gateway". place: of what lacks it.
    """
    if value is None:
        name = what.partition(" ")[2]
        config.find(ERROR, "route", f"There's no {name}.", place, STOPS, f"Give {what}.")
        return None
    if not _is_scalar(config, value, what):
        return None
    text = (value.text or "").partition("/")[0]
    try:
        found = ipaddress.ip_address(text)
        if not (found.is_unspecified or found.is_multicast or "%" in text):
            return found
    except ValueError:
        pass
    config.find(
        ERROR,
        "route",
        f"{shown(value)} isn't the address of {what}.",
        value.place,
        STOPS,
        f"Give {what} as an address.",
    )
    return None


def _is_scalar(config: Config, value: Value, what: str) -> bool:
    """Whether an item is a single value; an error when it's empty, a list or a map."""
    if value.kind == "scalar" and not value.is_null:
        return True
    name = what[:1].upper() + what[1:]
    message = f"{name} is {shown(value)}; it takes a single value."
    config.find(ERROR, "wrong-type", message, value.place, STOPS, "Give a single value.")
    return False


def servers(config: Config, value: Value | None) -> None:
    """Add DNS servers; ESXi has one list for the whole host."""
    for item in value.as_list() if value else ():
        found = ip(config, item, "a DNS server", item.place)
        if found is not None and found.is_loopback:
            message, fix = f"{found} is the host itself, which answers no DNS.", "Give a server."
            config.find(WARNING, "dns", message, item.place, "It finds no names there.", fix)
        if found is not None and str(found) not in config.dns:
            config.dns.append(str(found))


def domains(config: Config, value: Value | None) -> None:
    """Add search domains."""
    for item in value.as_list() if value else ():
        if not _is_scalar(config, item, "a domain"):
            continue
        name = (item.text or "").rstrip(".")
        if not _DOMAIN.fullmatch(name):
            message, fix = f"{shown(item)} isn't a domain.", "Write it as lab.example."
            config.find(ERROR, "dns", message, item.place, "The host refuses the command.", fix)
        elif name not in config.search:
            config.search.append(name)
