# SPDX-License-Identifier: Apache-2.0
"""A host that keeps state and refuses what an ESXi host refuses (rule: esxi-wipe-first).

Its network is empty, as the deployment script leaves it. Written from the
rules, not from the code under test.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass, field

POLICIES = {"portid", "explicit", "iphash", "mac"}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class Refused(Exception):
    """What the host answers when it refuses a command."""


@dataclass
class Switch:
    uplinks: list[str] = field(default_factory=list)
    mtu: int = 1500
    active: list[str] = field(default_factory=list)
    policy: str = "portid"


@dataclass
class Group:
    switch: str
    vlan: int = 0
    vmk: str = ""


@dataclass
class Vmk:
    group: str
    mtu: int
    mac: str
    v4: ipaddress.IPv4Interface | None = None
    v6: list[ipaddress.IPv6Interface] = field(default_factory=list)
    dhcp4: bool = False
    dhcp6: bool = False
    slaac: bool = False

    def holds(self, gateway: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether a gateway is in a network of this interface, or may be."""
        if gateway.version == 4:
            return self.dhcp4 or (self.v4 is not None and gateway in self.v4.network)
        if gateway.is_link_local:
            return bool(self.v6) or self.dhcp6 or self.slaac
        return self.dhcp6 or self.slaac or any(gateway in one.network for one in self.v6)

    def networks(self) -> set[str]:
        """The networks that are connected to it."""
        return {str(one.network) for one in (self.v4, *self.v6) if one is not None}


class Host:
    """Runs ``esxcli network …``; raises Refused."""

    def __init__(self, nics: list[str]) -> None:
        self.nics = nics
        self.switches: dict[str, Switch] = {}
        self.groups: dict[str, Group] = {}
        self.vmks: dict[str, Vmk] = {}
        self.routes: set[tuple[str, str]] = set()
        self.dns: list[str] = []
        self.search: list[str] = []

    def run(self, line: str) -> None:
        words = shlex.split(line)
        if words[:2] != ["esxcli", "network"]:
            raise Refused(line)
        path, options = self._parsed(words[2:])
        handler = {
            "vswitch standard add": self._add_switch,
            "vswitch standard set": self._set_switch,
            "vswitch standard uplink add": self._add_uplink,
            "vswitch standard policy failover set": self._set_team,
            "vswitch standard portgroup add": self._add_group,
            "vswitch standard portgroup set": self._set_group,
            "ip interface add": self._add_vmk,
            "ip interface ipv4 set": self._set_v4,
            "ip interface ipv6 set": self._set_v6,
            "ip interface ipv6 address add": self._add_v6,
            "ip route ipv4 add": lambda o: self._add_route(4, o),
            "ip route ipv6 add": lambda o: self._add_route(6, o),
            "ip dns server add": self._add_dns,
            "ip dns search add": self._add_search,
        }.get(path)
        if handler is None:
            raise Refused(f"Unknown command: {path}")
        handler(options)

    def _parsed(self, words: list[str]) -> tuple[str, dict[str, str]]:
        path: list[str] = []
        options: dict[str, str] = {}
        rest = iter(words)
        for word in rest:
            if word.startswith("--") and "=" in word:
                name, _, value = word[2:].partition("=")
                options[{"gateway": "g", "network": "n"}[name]] = value
            elif word.startswith("-"):
                value = next(rest, "None")  # what a missing MTU became in the reference
                if value == "None":
                    raise Refused(f"Missing value of {word}")
                options[word[1:]] = value
            elif options:
                raise Refused(f"Unexpected {word}")
            else:
                path.append(word)
        return " ".join(path), options

    def _add_switch(self, o: dict[str, str]) -> None:
        if o["v"] in self.switches:
            raise Refused("A vSwitch with that name exists already")
        if len(self.switches) == 128 or len(o["v"]) > 31:
            raise Refused("Too many vSwitches, or the name is too long")
        self.switches[o["v"]] = Switch()

    def _switch(self, name: str) -> Switch:
        if name not in self.switches:
            raise Refused(f"No vSwitch {name}")
        return self.switches[name]

    def _set_switch(self, o: dict[str, str]) -> None:
        mtu = int(o["m"])
        if not 1280 <= mtu <= 9000:
            raise Refused("MTU out of range")
        self._switch(o["v"]).mtu = mtu

    def _add_uplink(self, o: dict[str, str]) -> None:
        switch = self._switch(o["v"])
        if o["u"] not in self.nics:
            raise Refused(f"No such NIC {o['u']}")
        if any(o["u"] in other.uplinks for other in self.switches.values()):
            raise Refused(f"{o['u']} is in use already")
        switch.uplinks.append(o["u"])

    def _set_team(self, o: dict[str, str]) -> None:
        switch, active = self._switch(o["v"]), o["a"].split(",")
        if set(active) - set(switch.uplinks) or len(active) != len(set(active)):
            raise Refused("An active NIC is no uplink of the vSwitch")
        if o["l"] not in POLICIES:
            raise Refused("Unknown load balancing")
        switch.active, switch.policy = active, o["l"]

    def _add_group(self, o: dict[str, str]) -> None:
        self._switch(o["v"])
        if o["p"] in self.groups or not 0 < len(o["p"]) <= 79:
            raise Refused("A portgroup with that name exists already, or the name is no good")
        self.groups[o["p"]] = Group(o["v"])

    def _set_group(self, o: dict[str, str]) -> None:
        if o["p"] not in self.groups or not 0 <= int(o["v"]) <= 4095:
            raise Refused("No such portgroup, or no VLAN id")
        self.groups[o["p"]].vlan = int(o["v"])

    def _add_vmk(self, o: dict[str, str]) -> None:
        group = self.groups.get(o["p"])
        if group is None or group.vmk or o["i"] in self.vmks:
            raise Refused("The portgroup is missing or taken, or the vmk exists")
        mtu = int(o.get("m", "1500"))
        if not 1280 <= mtu <= 9000 or mtu > self.switches[group.switch].mtu:
            raise Refused("MTU out of range, or above that of the vSwitch")
        mac = o.get("M", "")
        if mac and (not _MAC.fullmatch(mac) or mac in {vmk.mac for vmk in self.vmks.values()}):
            raise Refused("No MAC address, or one that is used")
        group.vmk = o["i"]
        self.vmks[o["i"]] = Vmk(o["p"], mtu, mac)

    def _vmk(self, name: str) -> Vmk:
        if name not in self.vmks:
            raise Refused(f"No such interface {name}")
        return self.vmks[name]

    def _set_v4(self, o: dict[str, str]) -> None:
        vmk = self._vmk(o["i"])
        if o["t"] == "dhcp":
            vmk.dhcp4 = True
            return
        address = ipaddress.IPv4Interface(f"{o['I']}/{o['N']}")
        ends = (address.network.network_address, address.network.broadcast_address)
        if address.network.prefixlen < 31 and address.ip in ends:
            raise Refused("The address of a network isn't that of a host")
        if any(v.v4 and v.v4.ip == address.ip for v in self.vmks.values()):
            raise Refused("The address is in use")
        vmk.v4 = address

    def _set_v6(self, o: dict[str, str]) -> None:
        vmk = self._vmk(o["i"])
        if "g" in o and not vmk.holds(ipaddress.IPv6Address(o["g"])):
            raise Refused("The gateway isn't in a network of this interface")
        if "d" in o:
            vmk.dhcp6 = o["d"] == "true"
        if "r" in o:
            vmk.slaac = o["r"] == "true"

    def _add_v6(self, o: dict[str, str]) -> None:
        vmk = self._vmk(o["i"])
        if "/" not in o["I"]:
            raise Refused("An IPv6 address needs its prefix length")
        vmk.v6.append(ipaddress.IPv6Interface(o["I"]))

    def _add_route(self, family: int, o: dict[str, str]) -> None:
        gateway = ipaddress.ip_address(o["g"])
        network = o["n"]
        if gateway.version != family or (network, str(family)) in self.routes:
            raise Refused("The gateway is of the other family, or the route exists")
        if network != "default":
            ipaddress.ip_network(network)
        if any(network in vmk.networks() for vmk in self.vmks.values()):
            raise Refused("The host is in that network")
        if not any(vmk.holds(gateway) for vmk in self.vmks.values()):
            raise Refused("The gateway cannot be reached")
        if any(gateway in (one.ip for one in (v.v4, *v.v6) if one) for v in self.vmks.values()):
            raise Refused("The gateway is the host itself")
        self.routes.add((network, str(family)))

    def _add_dns(self, o: dict[str, str]) -> None:
        ipaddress.ip_address(o["s"])
        if o["s"] in self.dns:
            raise Refused("The server is there already")
        self.dns.append(o["s"])

    def _add_search(self, o: dict[str, str]) -> None:
        if o["d"] in self.search or not o["d"] or " " in o["d"]:
            raise Refused("The domain is there already, or is none")
        self.search.append(o["d"])
