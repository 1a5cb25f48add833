# SPDX-License-Identifier: Apache-2.0
"""Network configuration v1, on its own or inside a curtin document (rule: esxi-v1-only)."""

from __future__ import annotations

from webapp.vmware.keys import Taken, is_map, names_in, take
from webapp.vmware.model import (
    ERROR,
    NOTE,
    SKIPPED,
    STOPS,
    WARNING,
    Config,
    Fix,
    Link,
    Subnet,
    shown,
)
from webapp.vmware.reading import Value
from webapp.vmware.routes import read_gateway, read_route
from webapp.vmware.scalars import address, domains, link_mac, mtu, servers, vlan_id
from webapp.vmware.version1_keys import VERSION1

# A DHCP link without a subnet is written as "dhcp" and means both (rule: esxi-dhcp-both).
_AUTOMATIC = {
    "dhcp": ("dhcp4", "dhcp6"),
    "dhcp4": ("dhcp4",),
    "dhcp6": ("dhcp6",),
    "ipv6_dhcpv6-stateful": ("dhcp6",),
    "ipv6_dhcpv6-stateless": ("slaac",),  # (rule: esxi-slaac)
    "ipv6_slaac": ("slaac",),
}
_STATIC = ("static", "static4", "static6")
# (rule: esxi-no-bridges)
_NO_BRIDGE = (
    "Remove it and give its addresses to the interface or bond below it; "
    "every vSwitch bridges virtual machines by itself."
)


def read_version1(network: Value) -> Config:
    """Read the entries of ``config``; what can't be used becomes a finding."""
    config = Config()
    take(config, network, VERSION1, "network")
    entries = network.get("config")
    if entries is None or entries.kind != "list":
        config.find(
            ERROR,
            "config",
            "There's no list of entries under config.",
            (entries or network).place,
            "The host wipes its network and configures nothing.",
            "Give the whole network section.",
        )
        return config
    for entry in entries.items:
        if is_map(config, entry, "An entry"):
            _read_entry(config, entry)
    return config


def _read_entry(config: Config, entry: Value) -> None:
    kind_value = entry.get("type")
    kind = (kind_value.text or "") if kind_value else ""
    if kind_value is not None and kind_value.kind != "scalar":
        message, fix = f"The type of an entry is {shown(kind_value)}; it takes a name.", "Name it."
        config.find(ERROR, "type", message, kind_value.place, SKIPPED, fix)
    elif kind == "nameserver":
        got = take(config, entry, VERSION1, "nameserver")
        servers(config, got.get("address"))
        domains(config, got.get("search"))
    elif kind in ("physical", "bond", "vlan"):
        _read_link(config, entry, kind)
    elif kind == "route":
        config.routes += read_route(config, entry, VERSION1, "route")
    elif kind == "loopback":
        _read_loopback(config, entry)
    elif kind == "bridge":
        message = f"A bridge isn't possible on ESXi{_named(entry)}."
        place, steps = (kind_value or entry).place, bridge_fixes(entry)
        config.find(ERROR, "bridge", message, place, SKIPPED, _NO_BRIDGE, steps)
    else:
        what = f"An entry of type {kind[:40]!r}" if kind else "An entry without a type"
        message = f"{what} isn't possible on ESXi{_named(entry)}."
        fix = "Use physical, bond, vlan, nameserver or route."
        config.find(ERROR, "type", message, (kind_value or entry).place, SKIPPED, fix)


def _named(entry: Value) -> str:
    """The name of an entry that is refused as a whole and its keys, in parentheses."""
    name = entry.get("name") or entry.get("id")
    rest = {key: value for key, value in entry.entries.items() if key not in ("type", "name")}
    inside = names_in(Value(entry.place, entries=rest, kind="map"))
    parts = [part for part in (name.text[:60] if name and name.text else "", inside) if part]
    return f" ({': '.join(parts)})" if parts else ""


def bridge_fixes(entry: Value) -> tuple[Fix, ...]:
    """The step that removes a bridge of v1."""
    name = entry.get("name") or entry.get("id")
    return (Fix("Remove the bridge", "drop-bridge", name.text),) if name and name.text else ()


def _read_loopback(config: Config, entry: Value) -> None:
    """Addresses of a loopback are lost; without any, nothing is."""
    subnets = entry.get("subnets")
    items = subnets.as_list() if subnets else ()
    has_address = any(item.get("address") is not None for item in items)
    severity = WARNING if has_address else NOTE
    happens = "The host doesn't get these addresses." if has_address else ""
    config.find(
        severity, "loopback", f"ESXi has its own loopback{_named(entry)}.", entry.place, happens
    )


def _read_link(config: Config, entry: Value, kind: str) -> None:
    got = take(config, entry, VERSION1, kind)
    name = got.get("name") or got.get("id")
    if name is None or not name.text:
        message, fix = "An interface has no name.", "Give it a name."
        config.find(ERROR, "name", message, entry.place, SKIPPED, fix)
        return
    link = Link(kind, name.text, entry.place)
    link_mac(config, link, got.get("mac_address"))
    link.mtu = mtu(config, got.get("mtu"))
    if kind == "bond":
        members = got.get("bond_interfaces")
        link.members = [item.text or "" for item in members.as_list()] if members else []
        _read_params(config, link, got.get("params"))
    elif kind == "vlan":
        parent = got.get("vlan_link")
        link.parent = (parent.text or "") if parent else ""
        link.vlan_id = vlan_id(config, got.get("vlan_id"))
    subnets = got.get("subnets")
    for subnet in subnets.as_list() if subnets else ():
        if is_map(config, subnet, "A subnet"):
            _read_subnet(config, link, subnet)
    config.links.append(link)


def parameter_name(raw: str) -> str:
    """``bond-mode``, ``bond_mode`` and ``mode`` mean the same."""
    return raw.removeprefix("bond-").removeprefix("bond_").replace("_", "-")


def _read_params(config: Config, link: Link, params: Value | None) -> None:
    if params is None:
        return
    got = take(config, params, VERSION1, "params", spelling=parameter_name)
    mode, primary = got.get("mode"), got.get("primary")
    link.mode = (mode.text or "") if mode else ""
    link.primary = (primary.text or "") if primary else ""


def _read_subnet(config: Config, link: Link, subnet: Value) -> None:
    got = take(config, subnet, VERSION1, "subnets", at=subnet.place)
    kind_value = got.get("type")
    kind = (kind_value.text or "") if kind_value else ""
    made = Subnet(_AUTOMATIC.get(kind, ()), subnet.place)
    if kind in _STATIC:
        _read_address(config, made, subnet, got)
    elif kind == "ipv6_dhcpv6-stateless":
        message = "DHCPv6 isn't asked for DNS servers beside SLAAC on ESXi."
        fix = "Add a nameserver entry."
        config.find(WARNING, "stateless", message, subnet.place, "They aren't set.", fix)
    elif not made.kinds and kind != "manual":
        config.find(
            ERROR,
            "subnet-type",
            f"{shown(kind_value)} isn't a type of subnet."
            if kind_value
            else "A subnet has no type.",
            (kind_value or subnet).place,
            "The interface gets no address.",
            "Use static, dhcp4, dhcp6, dhcp, ipv6_slaac or manual.",
        )
    if made.kinds:
        link.subnets.append(made)
    link.routes += read_gateway(config, got.get("gateway"))
    routes = got.get("routes")
    for route in routes.as_list() if routes else ():
        link.routes += read_route(config, route, VERSION1, "routes")


def _read_address(config: Config, made: Subnet, subnet: Value, got: Taken) -> None:
    value = got.get("address") or got.get("ip_address")
    if value is None:
        message = "A static subnet has no address."
        fix = "Give its address, or use dhcp4."
        config.find(ERROR, "address", message, subnet.place, STOPS, fix)
        return
    mask = got.get("prefix") or got.get("netmask")
    made.address = address(config, value, (mask.text or "") if mask else "")
    if made.address is not None:
        made.kinds = ("static",)
        _check_masks(config, made, got)


def _check_masks(config: Config, made: Subnet, got: Taken) -> None:
    """Name a netmask that another one overrules."""
    for name in ("netmask", "prefix"):
        mask = got.get(name)
        if mask is None or made.address is None:
            continue
        length = address_with(made, mask.text or "")
        if length != made.address.network.prefixlen:
            message = f"{name} {shown(mask)} isn't used; {made.address} has its own."
            config.find(WARNING, "ignored", message, mask.place)


def address_with(subnet: Subnet, mask: str) -> int | None:
    """The prefix length that a mask means for a subnet's address; None for no mask."""
    quiet = Config()
    base = str(subnet.address.ip) if subnet.address else ""
    found = address(quiet, Value(subnet.place, text=base), mask)
    return found.network.prefixlen if found else None
