# SPDX-License-Identifier: Apache-2.0
"""Netplan v2, translated by our own rules (spec esxi a.6): hosts themselves refuse it."""

from __future__ import annotations

from webapp.vmware.model import ERROR, NOTE, Config, Fix, Link, Route, Subnet
from webapp.vmware.reading import Value
from webapp.vmware.version1 import LINK_LOST, add_route, warn_lacp

_KINDS = {"ethernets": "physical", "bonds": "bond", "vlans": "vlan"}
_IGNORED = ("optional", "wakeonlan", "accept-ra", "critical", "renderer", "link-local")
_KNOWN = {"version", "renderer", *_KINDS}


def read_version2(network: Value) -> Config:
    """Read ethernets, bonds and vlans; everything else ESXi cannot have is an error."""
    config = Config()
    for name, value in network.entries.items():
        if name in _KNOWN or value.is_null:
            continue
        code = "bridge" if name == "bridges" else "type"
        fix = "Drop it and give its addresses to the interface or bond below it."
        message = f"{name[:40]!r} has no counterpart on ESXi."
        bridges = tuple(value.entries) if code == "bridge" else ()
        steps = tuple(Fix(f"Drop {one[:40]}", "drop-bridge", one) for one in bridges)
        config.find(ERROR, code, message, value.place, LINK_LOST, fix, steps)
    for section, kind in _KINDS.items():
        devices = network.get(section)
        for name, device in devices.entries.items() if devices else ():
            config.links.append(_link(config, kind, name, device))
    return config


def _link(config: Config, kind: str, name: str, device: Value) -> Link:
    link = Link(kind, name, device.place)
    link.mtu = config.mtu(device.get("mtu"))
    for key in _IGNORED:
        if (value := device.get(key)) is not None:
            config.find(NOTE, "ignored", f"{key} is ignored on ESXi.", value.place)
    for key in ("routing-policy", "openvswitch"):
        if (value := device.get(key)) is not None:
            message = f"{key} has no counterpart on ESXi."
            config.find(ERROR, "type", message, value.place, LINK_LOST, "Drop it.")
    if kind == "physical":
        _match(config, link, device)
    else:
        link.mac = config.mac(device.get("macaddress"))
    if kind == "bond":
        members = device.get("interfaces")
        link.members = [item.text or "" for item in members.as_list()] if members else []
        _parameters(config, link, device.get("parameters"))
    elif kind == "vlan":
        parent = device.get("link")
        link.parent = (parent.text or "") if parent else ""
        link.vlan_id = config.vlan_id(device.get("id"))
    _addresses(config, link, device)
    return link


def _match(config: Config, link: Link, device: Value) -> None:
    match = device.get("match")
    for key, value in match.entries.items() if match else ():
        if key == "macaddress":
            link.mac = config.mac(value)
        else:
            message = f"NICs are found by MAC address, not by {key[:40]}."
            config.find(ERROR, "match", message, value.place, LINK_LOST, "Match by macaddress.")
    if (renamed := device.get("set-name")) is not None and renamed.text:
        link.name = renamed.text
    if (override := device.get("macaddress")) is not None:
        message = "macaddress gives a NIC another address, which ESXi does not do."
        config.find(
            NOTE, "ignored", message, override.place, "", "Use match.macaddress to find it."
        )


def _parameters(config: Config, link: Link, parameters: Value | None) -> None:
    for key, value in parameters.entries.items() if parameters else ():
        if key == "mode":
            link.mode = value.text or ""
        elif key == "primary":
            link.primary = value.text or ""
        elif key in ("lacp-rate", "transmit-hash-policy"):
            warn_lacp(config, value, key)
        else:
            config.find(NOTE, "ignored", f"{key[:40]} is ignored on ESXi.", value.place)


def _addresses(config: Config, link: Link, device: Value) -> None:
    """Addresses in their order, then DHCP; gateways and routes belong to the first of them."""
    addresses = device.get("addresses")
    for item in addresses.as_list() if addresses else ():
        address = config.address(item)
        if address is not None:
            link.subnets.append(Subnet(("static",), item.place, address))
    for key in ("dhcp4", "dhcp6"):
        value = device.get(key)
        if value is None:
            continue
        if value.as_bool() is None:
            message = f"{key} is neither true nor false."
            config.find(ERROR, "dhcp", message, value.place, "", "Write true or false.")
        elif value.as_bool():
            link.subnets.append(Subnet((key,), value.place))
    holder = link.subnets[0] if link.subnets else Subnet((), device.place)
    for key in ("gateway4", "gateway6"):
        if (gateway := device.get(key)) is not None:
            via = config.ip(gateway, "gateway", gateway.place)
            if via is not None:
                holder.routes.append(Route("default", via, gateway.place))
    routes = device.get("routes")
    for route in routes.as_list() if routes else ():
        add_route(config, holder, route, ("to",), "via")
    if holder.routes and not link.subnets:
        message = f"{link.name[:60]} has routes and no address."
        config.find(ERROR, "route", message, device.place, "The gateway is not reached.", "")
    if (names := device.get("nameservers")) is not None:
        config.servers(names.get("addresses"))
        config.domains(names.get("search"))
        config.find(NOTE, "dns", "ESXi has one list of DNS servers for the host.", names.place)
