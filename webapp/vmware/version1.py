# SPDX-License-Identifier: Apache-2.0
"""Network configuration v1, bare or inside a curtin document (spec esxi a.1, a.2)."""

from __future__ import annotations

import ipaddress

from webapp.vmware.model import ERROR, NOTE, WARNING, Config, Fix, Link, Route, Subnet, shown
from webapp.vmware.reading import Value

_DHCP = {"dhcp": ("dhcp4", "dhcp6"), "dhcp4": ("dhcp4",), "dhcp6": ("dhcp6",)}
_STATIC = ("static", "static4", "static6")
LINK_LOST = "The host's script skips it, and what depends on it."


def read_version1(network: Value) -> Config:
    """Read the entries of ``config``; what cannot be used becomes a finding."""
    config = Config()
    entries = network.get("config")
    if entries is None or entries.kind != "list":
        config.find(
            ERROR,
            "config",
            "There is no list of entries under `config`.",
            (entries or network).place,
            "The host wipes its network and configures nothing.",
            "Give the whole network section.",
        )
        return config
    for entry in entries.items:
        _read_entry(config, entry)
    return config


def _read_entry(config: Config, entry: Value) -> None:
    kind_value = entry.get("type") if entry.kind == "map" else None
    kind = (kind_value.text or "") if kind_value else ""
    if kind == "nameserver":
        config.servers(entry.get("address"))
        config.domains(entry.get("search"))
    elif kind in ("physical", "bond", "vlan"):
        _read_link(config, entry, kind)
    elif kind == "loopback":
        config.find(NOTE, "loopback", "ESXi has its own loopback.", entry.place)
    else:
        code, name = ("bridge", "A bridge") if kind == "bridge" else ("type", f"{kind[:40]!r}")
        config.find(
            ERROR,
            code,
            f"{name} has no counterpart on ESXi.",
            (kind_value or entry).place,
            LINK_LOST,
            "Drop it and give its addresses to the interface or bond below it; "
            "every vSwitch bridges virtual machines by itself."
            if kind == "bridge"
            else "Use physical, bond, vlan or nameserver.",
            bridge_fixes(entry) if kind == "bridge" else (),
        )


def bridge_fixes(entry: Value) -> tuple[Fix, ...]:
    """The step that drops a bridge of v1."""
    name = entry.get("name") or entry.get("id")
    return (Fix("Drop the bridge", "drop-bridge", name.text),) if name and name.text else ()


def _read_link(config: Config, entry: Value, kind: str) -> None:
    name = entry.get("name") or entry.get("id")
    if name is None or not name.text:
        config.find(ERROR, "name", "An interface has no name.", entry.place, LINK_LOST, "Name it.")
        return
    link = Link(kind, name.text, entry.place)
    link.mac = config.mac(entry.get("mac_address"))
    link.mtu = config.mtu(entry.get("mtu"))
    if kind == "bond":
        members = entry.get("bond_interfaces")
        link.members = [item.text or "" for item in members.as_list()] if members else []
        _read_params(config, link, entry.get("params"))
    elif kind == "vlan":
        parent = entry.get("vlan_link")
        link.parent = (parent.text or "") if parent else ""
        link.vlan_id = config.vlan_id(entry.get("vlan_id"))
    subnets = entry.get("subnets")
    for subnet in subnets.as_list() if subnets else ():
        _read_subnet(config, link, subnet)
    config.links.append(link)


def _read_params(config: Config, link: Link, params: Value | None) -> None:
    """Take the bond's settings; ``bond-mode`` and ``mode`` mean the same."""
    entries = params.entries if params is not None else {}
    for raw, value in entries.items():
        name = raw.removeprefix("bond-").removeprefix("bond_").replace("_", "-")
        if name == "mode":
            link.mode = value.text or ""
        elif name == "primary":
            link.primary = value.text or ""
        elif name in ("lacp-rate", "xmit-hash-policy"):
            warn_lacp(config, value, name)
        else:
            config.find(NOTE, "ignored", f"{raw} is ignored on ESXi.", value.place)


def warn_lacp(config: Config, value: Value, name: str) -> None:
    """802.3ad loses two settings (spec esxi a.3)."""
    config.find(
        WARNING,
        "lacp",
        f"{name} is ignored: LACP rate and XMIT hash policy settings do not exist on ESXi.",
        value.place,
        "The team hashes by IP, which is a static channel and no LACP.",
        "Set the switch's ports to a static channel.",
    )


def _read_subnet(config: Config, link: Link, subnet: Value) -> None:
    kind_value = subnet.get("type") if subnet.kind == "map" else None
    kind = (kind_value.text or "") if kind_value else ""
    for name in ("dns_nameservers", "dns_search"):
        if (value := subnet.get(name)) is not None:
            config.find(NOTE, "dns-ignored", f"{name} of a subnet is ignored on ESXi.", value.place)
    if kind == "manual":
        return
    made = Subnet(_DHCP.get(kind, ()), subnet.place)
    if kind in _STATIC:
        address, mask = subnet.get("address"), subnet.get("netmask")
        if address is None:
            config.find(
                ERROR,
                "address",
                "A static subnet has no address.",
                subnet.place,
                "The host's script stops after it has wiped the network.",
                "Give its address, or use dhcp4.",
            )
            return
        made.address = config.address(address, (mask.text or "") if mask else "")
        if made.address is None:
            return
        made.kinds = ("static",)
    elif not made.kinds:
        config.find(
            ERROR,
            "subnet-type",
            f"{shown(kind_value) if kind_value else 'Nothing'} is no type of a subnet.",
            (kind_value or subnet).place,
            "The interface gets no address.",
            "Use static, dhcp4, dhcp6, dhcp or manual.",
        )
        return
    if (gateway := subnet.get("gateway")) is not None:
        via = config.ip(gateway, "gateway", gateway.place)
        if via is not None:
            made.routes.append(Route("default", via, gateway.place))
    routes = subnet.get("routes")
    for route in routes.as_list() if routes else ():
        add_route(config, made, route, ("network", "destination"), "gateway")
    link.subnets.append(made)


def add_route(
    config: Config, subnet: Subnet, route: Value, targets: tuple[str, ...], via: str
) -> None:
    """Read one route of either dialect."""
    target = next((found for name in targets if (found := route.get(name))), None)
    gateway = config.ip(route.get(via), "gateway", route.place)
    if (metric := route.get("metric")) is not None and metric.text != "0":
        config.find(WARNING, "metric", "The metric of a route is ignored on ESXi.", metric.place)
    text = (target.text or "") if target else ""
    mask = route.get("netmask")
    if mask is not None and mask.text and "/" not in text:
        text = f"{text}/{mask.text}"
    try:
        network = "default" if text == "default" else str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        config.find(
            ERROR,
            "route",
            f"{text[:60]!r} is no network of a route.",
            (target or route).place,
            "The host's script stops after it has wiped the network.",
            "Write it as 10.1.0.0/16.",
        )
        return
    if gateway is not None:
        is_default = network in ("0.0.0.0/0", "::/0")
        subnet.routes.append(Route("default" if is_default else network, gateway, route.place))
