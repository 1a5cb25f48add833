# SPDX-License-Identifier: Apache-2.0
"""Turn a configuration into what an ESXi host gets: the rules of spec esxi a.2 to a.4.

The list of commands begins with a host whose network is empty, as the deployment
script leaves it. A plan without errors is a promise: the host refuses nothing on it.
A plan with errors has no commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from webapp.vmware.model import (
    ERROR,
    NOTE,
    WARNING,
    Config,
    Fix,
    Link,
    Route,
    Subnet,
)
from webapp.vmware.planned import Plan, VMKernel, VSwitch, describe_link
from webapp.vmware.reading import Place, Unreadable, Value, read
from webapp.vmware.version1 import read_version1
from webapp.vmware.version2 import read_version2

__all__ = ["TEAMING", "Plan", "plan"]

# Bond mode -> NIC teaming; there are no others (spec esxi a.3).
TEAMING = {"balance-rr": "portid", "active-backup": "explicit", "802.3ad": "iphash"}
DEFAULT_MTU = 1500
MAX_NAME = 79
MAX_VMKS = 256
MAX_VSWITCHES = 128


def plan(text: str | bytes, nics: Mapping[str, str] | None = None) -> Plan:
    """Plan the network of a host.

    nics: vmnic name -> MAC address in lower case; None when the host is not
    known, then NICs count from vmnic0 in the order of the text. Raises
    Unreadable when the text is no network configuration.
    """
    config = _read_config(read(text))
    return _Planner(config, nics).run()


def _read_config(document: Value) -> Config:
    network = document.get("network") or document
    version = network.get("version") if network.kind == "map" else None
    word = version.text if version else None
    if word == "1":
        return read_version1(network)
    if word == "2":
        return read_version2(network)
    raise Unreadable(
        "The version of the network configuration is not one that can be read.",
        where=str((version or network).place),
        expected="version: 1 or version: 2",
        got=repr(word)[:40] if word else "none",
        next_step="Give network configuration v1 or netplan v2.",
    )


class _Planner:
    """Holds what is taken already while one configuration is planned."""

    def __init__(self, config: Config, nics: Mapping[str, str] | None) -> None:
        self._config = config
        self._find = config.find
        self._links: dict[str, Link] = {}
        self._plan = Plan(dns=config.dns, search=config.search, findings=config.findings)
        self._switch_of: dict[str, VSwitch] = {}  # link -> its vSwitch
        self._uplinks: dict[str, str] = {}  # vmnic -> the link that has it
        self._portgroups: set[str] = set()
        self._addresses: set[str] = set()
        self._routes: set[tuple[str, int]] = set()
        self._vmnic_of = {mac: name for name, mac in (nics or {}).items()}
        self._is_assumed = nics is None
        self._assumed: dict[str, str] = {}

    def run(self) -> Plan:
        """Plan every link, parents before their children."""
        for link in self._config.links:
            if link.name in self._links:
                message = f"{link.name[:60]!r} is defined twice."
                self._error("already", message, link.place, "Rename one of the two.")
            self._links.setdefault(link.name, link)
        physical = [link for link in self._links.values() if link.kind == "physical"]
        self._assumed = {link.name: f"vmnic{n}" for n, link in enumerate(physical)}
        if self._is_assumed and physical:
            message = "The host's NICs are not known, so they are counted from vmnic0."
            self._find(NOTE, "nics", message, physical[0].place, "", "Name them: vmnic0=MAC.")
        members = {name for link in self._links.values() for name in link.members}
        for link in self._links.values():
            if link.kind == "bond":
                self._bond(link)
            elif link.kind == "physical" and link.subnets:
                self._physical(link, members)
            elif link.kind == "vlan" and not self._waits(link):
                self._vlan(link)
                continue
            for child in self._links.values():
                if child.kind == "vlan" and child.parent == link.name and self._waits(child):
                    self._vlan(child)
        if not self._plan.vmks and self._plan.is_promise:
            message = "No interface has an address: nobody can reach the host."
            self._find(WARNING, "no-address", message, Place(1, 1))
        self._check_counts()
        self._check_virtual_machines()
        self._plan.asked = [
            (link.name, describe_link(link), self._gets(link)) for link in self._links.values()
        ]
        return self._plan

    def _check_counts(self) -> None:
        """What a host can have at most (VMware's configuration maximums)."""
        limits = (("vmk", len(self._plan.vmks), MAX_VMKS, "VMkernel interfaces"),
                  ("vSwitch", len(self._plan.vswitches), MAX_VSWITCHES, "vSwitches"))  # fmt: skip
        for _, count, most, words in limits:
            if count > most:
                message = f"The host would need {count} {words}; it can have {most}."
                self._error("limit", message, Place(1, 1), "Configure fewer addresses.")

    def _check_virtual_machines(self) -> None:
        """Whether an interface is left for them: a portgroup with a vmk takes none (a.5)."""
        mine = [v.vswitch for v in self._plan.vmks]
        nics = self._assumed if self._is_assumed else self._vmnic_of
        is_left = set(nics.values()) - set(self._uplinks) or any(
            switch.name not in mine for switch in self._plan.vswitches
        )
        if mine and self._plan.is_promise and not is_left:
            where = " here" if self._is_assumed else ""
            message = f"No interface{where} is left for virtual machines."
            happens = "Portgroups with a VMkernel interface take none."
            fix = "Leave a NIC or a bond without addresses, or add a portgroup to a vSwitch later."
            place = next(link.place for link in self._links.values() if link.subnets)
            self._find(NOTE, "virtual-machines", message, place, happens, fix)

    def _gets(self, link: Link) -> str:
        switch = self._switch_of.get(link.name) or self._switch_of.get(link.parent)
        mine = [v for v in self._plan.vmks if v.portgroup.partition(":")[0] == link.name]
        if switch is None or (link.kind == "vlan" and not mine):
            owner = next(
                (n for n, s in self._switch_of.items() if link.name in self._members(n)), ""
            )
            return f"an uplink of {self._switch_of[owner].name}" if owner else "nothing"
        parts = [switch.name, f"uplinks {', '.join(switch.uplinks) or 'none'}"]
        if switch.policy and link.kind == "bond":
            parts.append(f"teaming {switch.policy}")
        parts += [
            f"{v.name} {v.address or ' and '.join(v.kinds)}{f' VLAN {v.vlan}' if v.vlan else ''}"
            for v in mine
        ]
        return "; ".join(parts)

    def _members(self, name: str) -> list[str]:
        link = self._links.get(name)
        return link.members if link else []

    # -- links

    def _physical(self, link: Link, members: set[str]) -> None:
        if link.name in members:
            message = f"{link.name} belongs to a bond and has an address of its own."
            self._error("already", message, link.place, "Give the address to the bond.")
            return
        switch = self._new_switch(link, [link], link.mtu)
        self._add_subnets(link, switch, 0)

    def _bond(self, link: Link) -> None:
        members = [self._links.get(name) for name in link.members]
        if not members or any(member is None or member.kind != "physical" for member in members):
            message = f"{link.name} has members that are no interfaces here."
            self._error("unmapped", message, link.place, "Name physical interfaces.")
            return
        if link.mode not in TEAMING:
            mode = repr(link.mode[:40]) if link.mode else "none"
            message = f"ESXi has no teaming for bond mode {mode}."
            fix = "Use balance-rr, active-backup or 802.3ad."
            steps = tuple(Fix(f"Use {mode}", "mode", link.name, mode) for mode in TEAMING)
            self._error("bond-mode", message, link.place, fix, steps)
            return
        found = [member for member in members if member is not None]
        switch = self._new_switch(link, self._ordered(link, found), link.mtu)
        switch.policy = TEAMING[link.mode]
        if switch.policy == "explicit" and len(found) > 1 and switch.uplinks:
            active = next((m for m in found if self._nic_of(m) == switch.uplinks[0]), found[0])
            others = tuple(
                Fix(f"Let {member.name} be active", "active", link.name, member.name)
                for member in found
                if member is not active
            )
            message = f"{active.name} is the active NIC of {link.name}; the others stand by."
            self._find(NOTE, "active", message, link.place, "", "", others)
        self._add_subnets(link, switch, 0)

    def _ordered(self, link: Link, members: list[Link]) -> list[Link]:
        """The active NIC first: who owns the bond's MAC, else the primary (a.3, a.6)."""
        owner = next((m for m in members if link.mac and m.mac == link.mac), None)
        if link.mac and owner is None:
            message = f"The MAC address of {link.name} belongs to none of its members."
            self._error("unmapped", message, link.place, "Use the MAC address of a member.")
        primary = next((m for m in members if m.name == link.primary), None)
        if link.primary and owner is not None and primary is not owner:
            message = "bond-primary is ignored: the NIC with the bond's MAC address is active."
            self._find(WARNING, "primary", message, link.place)
        first = owner or primary
        return members if first is None else [first, *(m for m in members if m is not first)]

    def _vlan(self, link: Link) -> None:
        if link.vlan_id is None:
            if not any(f.code == "vlan" for f in self._config.findings):
                self._error("vlan", f"{link.name} has no VLAN id.", link.place, "Give one.")
            return
        parent = self._links.get(link.parent)
        if parent is None or parent.kind == "vlan":
            message = f"{link.name} is a VLAN of {link.parent[:60]!r}, which it cannot be on."
            self._error("parent", message, link.place, "Name a physical interface or a bond.")
            return
        switch = self._switch_of.get(parent.name)
        if switch is None:
            if parent.kind == "bond":
                return  # the bond's own error says why there is none
            if not link.subnets:
                return
            switch = self._new_switch(parent, [parent], link.mtu)
        self._add_subnets(link, switch, link.vlan_id)

    def _waits(self, link: Link) -> bool:
        """Whether a VLAN stands before its parent; the parent brings it along (a.5, fault 8)."""
        names = list(self._links)
        return link.parent in names and names.index(link.parent) > names.index(link.name)

    # -- pieces

    def _new_switch(self, owner: Link, nics: list[Link], mtu: int | None) -> VSwitch:
        switch = VSwitch(f"vSwitch{len(self._plan.vswitches)}", [], mtu)
        self._plan.vswitches.append(switch)
        self._switch_of[owner.name] = switch
        for nic in nics:
            vmnic = self._nic_of(nic)
            if vmnic is None:
                message = f"No NIC of the host has the MAC address of {nic.name}."
                self._error("unmapped", message, nic.place, "Correct mac_address.")
            elif vmnic in self._uplinks:
                message = f"{vmnic} is used by {self._uplinks[vmnic]} already."
                self._error("already", message, nic.place, "Use each NIC once.")
            else:
                self._uplinks[vmnic] = owner.name
                switch.uplinks.append(vmnic)
        return switch

    def _nic_of(self, nic: Link) -> str | None:
        return self._assumed[nic.name] if self._is_assumed else self._vmnic_of.get(nic.mac)

    def _add_subnets(self, link: Link, switch: VSwitch, vlan: int) -> None:
        mtu = link.mtu
        if mtu is not None and mtu > (switch.mtu or DEFAULT_MTU):
            mtu = switch.mtu or DEFAULT_MTU
            message = f"The MTU of {link.name} is above that of its vSwitch; it gets {mtu}."
            self._find(WARNING, "mtu", message, link.place)
        for number, subnet in enumerate(link.subnets):
            name = f"{link.name}:{number}" if number else link.name
            self._check_name(name, link.place)
            vmk = VMKernel(
                name=f"vmk{len(self._plan.vmks)}",
                portgroup=name,
                vswitch=switch.name,
                vlan=vlan,
                mtu=mtu,
                # Two interfaces with one MAC address disturb each other (a.5, fault 13).
                mac=link.mac if not number and link.kind != "vlan" else "",
                kinds=subnet.kinds,
                address=subnet.address,
                routes=self._checked_routes(subnet),
            )
            self._plan.vmks.append(vmk)

    def _check_name(self, name: str, place: Place) -> None:
        if name in self._portgroups:
            message = f"The portgroup {name[:60]!r} exists already."
            self._error("already", message, place, "Rename one of the interfaces.")
        elif len(name) > MAX_NAME or not name.isprintable() or set(name) & set("/\\%\"'`$;&|<> "):
            message = f"{name[:60]!r} cannot name a portgroup."
            self._error("name", message, place, f"Use at most {MAX_NAME} plain characters.")
        self._portgroups.add(name)

    def _checked_routes(self, subnet: Subnet) -> tuple[Route, ...]:
        if subnet.address is not None:
            if str(subnet.address.ip) in self._addresses:
                message = f"{subnet.address.ip} is given twice."
                self._error("already", message, subnet.place, "Give each address once.")
            self._addresses.add(str(subnet.address.ip))
        kept = []
        for route in subnet.routes:
            key = (route.network, route.gateway.version)
            if key in self._routes:
                message = f"A second route to {route.network} is left out; the first one stays."
                self._find(WARNING, "second-route", message, route.place)
                continue
            network = subnet.address.network if subnet.address is not None else None
            is_near = network is None or route.gateway in network or route.gateway.is_link_local
            same = network is None or network.version == route.gateway.version
            if same and not is_near:
                message = f"The gateway {route.gateway} is not in {network}."
                fix = "Use a gateway of the same network."
                self._error("gateway", message, route.place, fix)
            self._routes.add(key)
            kept.append(route)
        return tuple(kept)

    def _error(
        self, code: str, message: str, place: Place, fix: str = "", fixes: tuple[Fix, ...] = ()
    ) -> None:
        happens = "The host stops half-way, after it has wiped its network."
        self._find(ERROR, code, message, place, happens, fix, fixes)
