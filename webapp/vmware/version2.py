# SPDX-License-Identifier: Apache-2.0
"""Netplan (v2), translated by rules of our own: hosts refuse it (rule: esxi-netplan)."""

from __future__ import annotations

from webapp.vmware.keys import Taken, is_map, names_in, take, unknown
from webapp.vmware.model import ERROR, NOTE, SKIPPED, WARNING, Config, Fix, Link, Subnet, shown
from webapp.vmware.netplan_keys import NETPLAN
from webapp.vmware.reading import Place, Value
from webapp.vmware.routes import read_gateway, read_route
from webapp.vmware.scalars import address, domains, link_mac, mtu, servers, vlan_id

_KINDS = {"ethernets": "physical", "bonds": "bond", "vlans": "vlan"}
_ORDINARY_MACS = ("permanent", "random", "stable", "stable-ssid", "preserve")
_SECTION = "ethernets, bonds or vlans"


def read_version2(network: Value) -> Config:
    """Read ethernets, bonds and vlans; what ESXi can't have becomes an error."""
    config = Config(finds_nics_by_order=True)
    bridges = network.get("bridges")
    names = tuple(bridges.entries) if bridges else ()
    steps = tuple(Fix(f"Remove {name[:40]}", "drop-bridge", name) for name in names)
    got = take(config, network, NETPLAN, "network", fixes={"bridges": steps})
    for section, kind in _KINDS.items():
        devices = got.get(section)
        if devices is None:
            continue
        for name, device in devices.entries.items():
            if device.kind == "scalar" and not device.is_null and name in NETPLAN[_SECTION]:
                own = Value(devices.at, entries={name: device}, kind="map")
                take(config, own, NETPLAN, _SECTION)
            elif name == "lo" and kind == "physical":
                _loopback(config, device)
            elif device.is_null:
                config.links.append(_link(config, kind, name, Value(device.at, kind="map")))
            elif is_map(config, device, name[:60]):
                config.links.append(_link(config, kind, name, device))
    return config


def _loopback(config: Config, device: Value) -> None:
    severity = WARNING if device.get("addresses") is not None else NOTE
    happens = "The host doesn't get these addresses." if severity == WARNING else ""
    inside = names_in(device)
    message = f"ESXi has its own loopback{f' (lo: {inside})' if inside else ''}."
    config.find(severity, "loopback", message, device.at, happens)


def _link(config: Config, kind: str, name: str, device: Value) -> Link:
    section = next(section for section, made in _KINDS.items() if made == kind)
    got = take(config, device, NETPLAN, section)
    link = Link(kind, name, device.at)
    link.mtu = mtu(config, got.get("mtu"))
    if kind == "physical":
        renamed = got.get("set-name")
        link.label = (renamed.text or "") if renamed else ""
        _match(config, link, got.get("match"))
        link.has_wrong_match |= "link" in got.named  # a virtual function is no NIC
    elif kind == "bond":
        members = got.get("interfaces")
        link.members = [item.text or "" for item in members.as_list()] if members else []
        _bond_mac(config, link, got.get("macaddress"))
        _parameters(config, link, got.get("parameters"))
    else:
        parent = got.get("link")
        link.parent = (parent.text or "") if parent else ""
        link.vlan_id = vlan_id(config, got.get("id"))
    _addresses(config, link, got)
    for key, table in (
        ("dhcp4-overrides", "overrides of DHCP"),
        ("dhcp6-overrides", "overrides of DHCP"),
        ("ra-overrides", "overrides of RA"),
    ):
        if (value := got.get(key)) is not None:
            _overrides(config, key, value, table)
    return link


def _match(config: Config, link: Link, match: Value | None) -> None:
    """A MAC address finds the NIC, whatever else has to match; without one nothing does."""
    if match is None:
        return
    got = take(config, match, NETPLAN, "match")
    if (value := got.get("macaddress")) is not None:
        link_mac(config, link, value)
        for key in ("name", "driver"):
            if (other := got.get(key)) is not None:
                message = f"{key} isn't needed: the MAC address finds the NIC."
                config.find(NOTE, "ignored", message, other.at)
        return
    keys = [key for key in ("name", "driver") if got.get(key) is not None]
    what = f"not by {' and '.join(keys)}" if keys else "and there's none here"
    message = f"NICs are found by MAC address, {what}."
    config.find(ERROR, "match", message, match.at, SKIPPED, "Match by macaddress.")
    link.has_wrong_match = True


def _bond_mac(config: Config, link: Link, value: Value | None) -> None:
    if value is None:
        return
    if value.text in _ORDINARY_MACS:
        message = f"macaddress: {value.text} is ignored on ESXi."
        config.find(NOTE, "ignored", message, value.at)
        return
    link_mac(config, link, value)


def _parameters(config: Config, link: Link, parameters: Value | None) -> None:
    """Take the bond's settings; netplan's mode is balance-rr where none is given."""
    got = take(config, parameters, NETPLAN, "parameters") if parameters is not None else None
    mode, primary = (got.get("mode"), got.get("primary")) if got else (None, None)
    link.primary = (primary.text or "") if primary else ""
    link.mode = (mode.text or "") if mode else "balance-rr"
    if mode is None:
        message = f"{link.name[:60]} has no mode; netplan takes balance-rr."
        config.find(NOTE, "bond-mode", message, link.place)


def _overrides(config: Config, key: str, value: Value, table: str) -> None:
    """Name the overrides one by one, and once where they stand."""
    before = len(config.findings)
    take(config, value, NETPLAN, table)
    found = config.findings[before:]
    if found:
        severities = {finding.severity for finding in found}
        severity = next(severity for severity in (ERROR, WARNING, NOTE) if severity in severities)
        severity = WARNING if severity == ERROR else severity
        message = f"{key} has no effect on ESXi ({', '.join(value.entries)[:200]})."
        config.find(severity, "ignored", message, value.at)


def _addresses(config: Config, link: Link, got: Taken) -> None:
    """Addresses in their order, then DHCP, then gateways and routes."""
    addresses = got.get("addresses")
    for item in addresses.as_list() if addresses else ():
        for text in _address_texts(config, item):
            found = address(config, text)
            if found is not None:
                link.subnets.append(Subnet(("static",), item.place, found))
    for key in ("dhcp4", "dhcp6"):
        value = got.get(key)
        if value is not None and value.as_bool():
            link.subnets.append(Subnet((key,), value.at))
    link.routes += read_gateway(config, got.get("gateway4"), 4)
    link.routes += read_gateway(config, got.get("gateway6"), 6)
    routes = got.get("routes")
    for route in routes.as_list() if routes else ():
        link.routes += read_route(config, route, NETPLAN, "routes")
    if (names := got.get("nameservers")) is not None:
        lists = take(config, names, NETPLAN, "nameservers")
        servers(config, lists.get("addresses"))
        domains(config, lists.get("search"))
        message = "ESXi has one list of DNS servers for the host."
        config.find(NOTE, "dns", message, names.at)


def _address_texts(config: Config, item: Value) -> list[Value]:
    """The addresses of an item: text, or a map from the address to its options."""
    if item.kind == "scalar" and not item.is_null:
        return [item]
    if item.kind != "map" or not item.entries:
        message = (
            f"An address is {shown(item) if item.kind != 'map' else 'an empty map'}; it takes text."
        )
        fix = "Write it as 10.0.0.5/24 or 2001:db8::5/64."
        config.find(ERROR, "wrong-type", message, item.place, SKIPPED, fix)
        return []
    for options in item.entries.values():
        _address_options(config, item, options)
    return [Value(_at(item, options), text=text) for text, options in item.entries.items()]


def _address_options(config: Config, item: Value, options: Value) -> None:
    """One note for all options of an address that ESXi doesn't have."""
    if options.is_null or not is_map(config, options, "The value of an address"):
        return
    known = NETPLAN["addresses"]
    for name, value in options.entries.items():
        if name not in known:
            unknown(config, NETPLAN, "addresses", name, value, _at(item, value))
    ignored = [
        name
        for name, value in options.entries.items()
        if name in known and not value.is_null and value.text not in known[name].unless
    ]
    empty = [name for name, value in options.entries.items() if name in known and value.is_null]
    if ignored:
        verb = "is" if len(ignored) == 1 else "are"
        message = f"{' and '.join(ignored)} of an address {verb} ignored on ESXi."
        config.find(NOTE, "ignored", message, item.place)
    for name in empty:
        config.find(NOTE, "empty", f"{name} is empty.", item.place)


def _at(item: Value, value: Value) -> Place:
    """Where a value stands, with the path of the list item that it is part of."""
    return Place(value.at.line, value.at.column, item.place.path)
