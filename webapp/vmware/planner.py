# SPDX-License-Identifier: Apache-2.0
"""Turn what was read into vSwitches, portgroups, VMkernel interfaces and their routes.

(rules: esxi-vswitch-per-uplink, esxi-portgroup-per-subnet)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from webapp import numbers
from webapp.vmware.model import (
    ERROR,
    NOTE,
    WARNING,
    Config,
    Fix,
    Link,
    Route,
    Subnet,
    VMKernel,
    VSwitch,
)
from webapp.vmware.nics import Nics
from webapp.vmware.planned import HostPlan, describe_link
from webapp.vmware.reading import Place
from webapp.vmware.routes import place_routes

# Bond mode -> NIC teaming; there are no others (rule: esxi-bond-modes).
TEAMING = {"balance-rr": "portid", "active-backup": "explicit", "802.3ad": "iphash"}
# Linux knows the modes by number, too.
MODES = (
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
)
DEFAULT_MTU = 1500
MAX_NAME = 79
MAX_VMKS = 256
MAX_VSWITCHES = 128
MAX_LINKS = 1000


class Planner:
    """Keeps track of what is taken while one configuration is planned."""

    def __init__(self, config: Config, nics: Mapping[str, str] | None) -> None:
        self._config = config
        self._find = config.find
        self._links: dict[str, Link] = {}
        self._plan = HostPlan(dns=config.dns, search=config.search, findings=config.findings)
        self._switch_of: dict[str, VSwitch] = {}  # link -> its vSwitch
        self._vmks_of: dict[str, list[VMKernel]] = {}  # link -> its VMkernel interfaces
        self._vmk_of: dict[int, VMKernel] = {}  # id of a subnet -> its VMkernel interface
        self._bond_of: dict[str, str] = {}  # member -> its bond
        self._uplinks: dict[str, str] = {}  # vmnic -> the link that has it
        self._portgroups: set[str] = set()
        self._addresses: set[str] = set()
        self._nics = Nics(config, nics)

    def run(self) -> HostPlan:
        """Plan every link, parents before their children."""
        self._collect_links()
        position = {name: number for number, name in enumerate(self._links)}
        waiting: dict[str, list[Link]] = {}
        for link in self._links.values():
            # A VLAN listed before its parent waits for it (rule: esxi-vlan-parent).
            if link.kind == "vlan" and position.get(link.parent, -1) > position[link.name]:
                waiting.setdefault(link.parent, []).append(link)
        later = {child.name for children in waiting.values() for child in children}
        for link in self._links.values():
            if link.kind == "bond":
                self._bond(link)
            elif link.kind == "physical" and link.subnets:
                self._physical(link)
            elif link.kind == "vlan" and link.name not in later:
                self._vlan(link)
            for child in waiting.get(link.name, ()):
                self._vlan(child)
        links = list(self._links.values())
        place_routes(self._config, links, self._add_route)
        self._check_mtus()
        self._check_counts()
        self._check_reach()
        self._check_virtual_machines()
        self._plan.asked = [
            (link.portgroup, describe_link(link), self._gets(link)) for link in links
        ]
        return self._plan

    def _collect_links(self) -> None:
        for link in self._config.links[:MAX_LINKS]:
            if link.name in self._links:
                message = f"{link.name[:60]!r} is defined twice."
                self._error("already", message, link.place, "Rename one of the two.")
            self._links.setdefault(link.name, link)
            for member in link.members:
                self._bond_of.setdefault(member, link.name)
        if len(self._config.links) > MAX_LINKS:
            message = f"There are more than {MAX_LINKS} devices."
            self._error("limit", message, self._config.links[MAX_LINKS].place, "Remove some.")
        self._nics.count([link for link in self._links.values() if link.kind == "physical"])

    # -- checks of the whole plan

    def _check_mtus(self) -> None:
        """Name the MTU of a NIC that has no vSwitch to set it on, or another's vSwitch."""
        for link in self._links.values():
            if link.mtu is None or link.kind == "vlan" or link.subnets:
                continue
            switch = self._switch_of.get(self._bond_of.get(link.name, link.name))
            if switch is None:
                message = f"The MTU of {link.name} isn't set: it has no vSwitch."
                self._find(NOTE, "mtu", message, link.place)
            elif switch.mtu != link.mtu:
                owner = self._bond_of.get(link.name, "its VLAN")
                has = f"{switch.mtu or DEFAULT_MTU}, the MTU of {owner}"
                message = f"The MTU of {link.name} isn't set: its vSwitch has {has}."
                self._find(WARNING, "mtu", message, link.place)

    def _check_counts(self) -> None:
        """The most that a host can have, by VMware's configuration maximums."""
        limits = (
            (len(self._plan.vmks), MAX_VMKS, "VMkernel interfaces"),
            (len(self._plan.vswitches), MAX_VSWITCHES, "vSwitches"),
        )
        for count, most, words in limits:
            if count > most:
                message = f"The host would need more than {most} {words}."
                self._error("limit", message, Place(1, 1), "Configure fewer addresses.")

    def _check_reach(self) -> None:
        """Whether the host can be reached, and from where."""
        if not self._plan.is_promise:
            return
        if not self._plan.vmks:
            message = "No interface has an address: no one can reach the host."
            self._error("no-address", message, Place(1, 1), "Give an interface an address.")
            return
        is_given = any(set(vmk.kinds) - {"static"} for vmk in self._plan.vmks)
        defaults = [r for vmk in self._plan.vmks for r in vmk.routes if r.network == "default"]
        if not is_given and not defaults:
            message = "There's no default gateway: only machines in its networks reach the host."
            self._find(NOTE, "no-gateway", message, Place(1, 1))
        four = next((route for route in defaults if route.gateway.version == 4), None)
        leases = [vmk.name for vmk in self._plan.vmks if "dhcp4" in vmk.kinds]
        if leases and (four is not None or len(leases) > 1):
            what = f"{four.gateway} and what DHCP gives" if four else f"DHCP on {_and(leases)}"
            message = f"ESXi has one IPv4 default gateway; {what} compete for it."
            place = four.place if four else Place(1, 1)
            self._find(WARNING, "second-route", message, place)

    def _check_virtual_machines(self) -> None:
        """Whether an interface is left for virtual machines (rule: esxi-vm-traffic)."""
        mine = {v.vswitch for v in self._plan.vmks}
        is_left = self._nics.all() - set(self._uplinks) or any(
            switch.name not in mine for switch in self._plan.vswitches
        )
        if mine and self._plan.is_promise and not is_left:
            where = " here" if self._nics.is_assumed else ""
            message = f"No interface{where} is left for virtual machines."
            happens = "They can't use port groups that have a VMkernel interface."
            fix = "Leave a NIC or a bond without addresses, or add a port group to a vSwitch later."
            place = next(link.place for link in self._links.values() if link.subnets)
            self._find(NOTE, "virtual-machines", message, place, happens, fix)

    def _gets(self, link: Link) -> str:
        switch = self._switch_of.get(link.name) or self._switch_of.get(link.parent)
        mine = self._vmks_of.get(link.name, [])
        if switch is None or (link.kind == "vlan" and not mine):
            owner = self._switch_of.get(self._bond_of.get(link.name, ""))
            return f"an uplink of {owner.name}" if owner else "nothing"
        parts = [switch.name, f"uplinks {', '.join(switch.uplinks) or 'none'}"]
        if switch.policy and link.kind == "bond":
            parts.append(f"teaming {switch.policy}")
        parts += [
            f"{v.name} {v.address or _and(v.kinds)}{f' VLAN {v.vlan}' if v.vlan else ''}"
            for v in mine
        ]
        return "; ".join(parts)

    # -- links

    def _physical(self, link: Link) -> None:
        if link.name in self._bond_of:
            message = f"{link.name} belongs to a bond and has an address of its own."
            self._error("already", message, link.place, "Give the address to the bond.")
            return
        switch = self._new_switch(link, [link], link.mtu)
        self._add_subnets(link, switch, 0)

    def _bond(self, link: Link) -> None:
        members = [self._links.get(name) for name in link.members]
        found = [member for member in members if member is not None and member.kind == "physical"]
        if not found or len(found) < len(members):
            wrong = [n[:60] for n, m in zip(link.members, members, strict=True) if m not in found]
            what = f"has members that aren't interfaces here: {_and(wrong)}"
            message = f"{link.name} {what if wrong else 'has no members'}."
            self._error("unmapped", message, link.place, "Name physical interfaces.")
            return
        mode = link.mode
        code = numbers.whole(mode, digits=1)
        if code is not None and code < len(MODES):
            mode = MODES[code]
        if mode not in TEAMING:
            shown = repr(mode[:40]) if mode else "none"
            number = f" ({link.mode})" if mode != link.mode else ""
            message = f"ESXi has no teaming for bond mode {shown}{number}."
            fix = "Use balance-rr, active-backup or 802.3ad."
            steps = tuple(Fix(f"Use {name}", "mode", link.name, name) for name in TEAMING)
            self._error("bond-mode", message, link.place, fix, steps)
            return
        switch = self._new_switch(link, self._ordered(link, found), link.mtu)
        switch.policy = TEAMING[mode]
        if switch.policy == "iphash":
            message = f"{link.name} hashes by IP address, which isn't LACP."
            fix = "Set the switch's ports to a static channel."
            self._find(NOTE, "channel", message, link.place, "", fix)
        if switch.policy == "explicit" and len(found) > 1 and switch.uplinks:
            active = next((m for m in found if self._nics.of(m) == switch.uplinks[0]), found[0])
            others = tuple(
                Fix(f"Make {member.name} active", "active", link.name, member.name)
                for member in found
                if member is not active and self._nics.of(member)
            )
            message = f"{active.name} is the active NIC of {link.name}; the others are standby."
            self._find(NOTE, "active", message, link.place, "", "", others)
        self._add_subnets(link, switch, 0)

    def _ordered(self, link: Link, members: list[Link]) -> list[Link]:
        """The active NIC first: the bond's MAC address decides (rule: esxi-active-uplink)."""
        owner = next((m for m in members if link.mac and m.mac == link.mac), None)
        if link.mac and owner is None and all(m.mac for m in members):
            message = f"The MAC address of {link.name} belongs to none of its members."
            self._error("unmapped", message, link.place, "Use the MAC address of a member.")
        elif link.mac and owner is None:
            message = f"Which member of {link.name} has its MAC address isn't known here."
            fix = "Give the members' MAC addresses."
            self._find(WARNING, "active", message, link.place, "The first one is used.", fix)
        primary = next((m for m in members if m.name == link.primary), None)
        if link.primary and primary is None:
            message = f"The primary {link.primary[:60]!r} isn't a member of {link.name}."
            self._find(WARNING, "primary", message, link.place, "", "Name one of its members.")
        elif link.primary and owner is not None and primary is not owner:
            message = "The primary is ignored: the NIC with the bond's MAC address is active."
            self._find(WARNING, "primary", message, link.place)
        first = owner or primary
        return members if first is None else [first, *(m for m in members if m is not first)]

    def _vlan(self, link: Link) -> None:
        if link.vlan_id is None:
            if not any(f.code == "vlan" for f in self._config.findings):
                message = f"{link.name} has no VLAN ID."
                self._error("vlan", message, link.place, "Give it one.")
            return
        parent = self._links.get(link.parent)
        if parent is None or parent.kind == "vlan":
            on = repr(link.parent[:60]) if link.parent else "nothing"
            message = f"{link.name} is a VLAN on {on}, which can't carry it."
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

    # -- pieces

    def _new_switch(self, owner: Link, nics: list[Link], mtu: int | None) -> VSwitch:
        switch = VSwitch(f"vSwitch{len(self._plan.vswitches)}", [], mtu)
        self._plan.vswitches.append(switch)
        self._switch_of[owner.name] = switch
        for nic in nics:
            vmnic = self._nics.used(nic)
            if vmnic is None:
                continue
            if vmnic in self._uplinks:
                message = f"{vmnic} is already used by {self._uplinks[vmnic]}."
                self._error("already", message, nic.place, "Use each NIC once.")
            else:
                self._uplinks[vmnic] = owner.name
                switch.uplinks.append(vmnic)
        return switch

    def _add_subnets(self, link: Link, switch: VSwitch, vlan: int) -> None:
        mtu, most = link.mtu, switch.mtu or DEFAULT_MTU
        if link.subnets and (mtu or DEFAULT_MTU) > most:  # the host refuses it (rule: esxi-mtu)
            severity = NOTE if mtu is None else WARNING
            mtu = most
            message = f"The MTU of {link.name} is above that of its vSwitch; it gets {mtu}."
            self._find(severity, "mtu", message, link.place)
        for number, subnet in enumerate(link.subnets):
            if len(self._plan.vmks) > MAX_VMKS:
                return  # an error already
            name = f"{link.portgroup}:{number}" if number else link.portgroup
            self._check_name(name, link.place)
            self._check_address(subnet)
            vmk = VMKernel(
                name=f"vmk{len(self._plan.vmks)}",
                portgroup=name,
                vswitch=switch.name,
                vlan=vlan,
                mtu=mtu,
                # Two interfaces with one MAC address disturb each other (rule: esxi-alias-mac).
                mac=link.mac if not number and link.kind != "vlan" else "",
                kinds=subnet.kinds,
                address=subnet.address,
            )
            self._plan.vmks.append(vmk)
            self._vmk_of[id(subnet)] = vmk
            self._vmks_of.setdefault(link.name, []).append(vmk)

    def _add_route(self, subnet: Subnet, route: Route) -> None:
        vmk = self._vmk_of.get(id(subnet))
        if vmk is not None:
            vmk.routes.append(route)

    def _check_name(self, name: str, place: Place) -> None:
        if name in self._portgroups:
            message = f"There are two port groups {name[:60]!r}."
            self._error("already", message, place, "Rename one of the interfaces.")
        elif len(name) > MAX_NAME or not name.isprintable() or set(name) & set("/\\%\"'`$;&|<> "):
            message = f"{name[:60]!r} can't be the name of a portgroup."
            self._error("name", message, place, f"Use at most {MAX_NAME} plain characters.")
        self._portgroups.add(name)

    def _check_address(self, subnet: Subnet) -> None:
        if subnet.address is None:
            return
        if str(subnet.address.ip) in self._addresses:
            message = f"{subnet.address.ip} is given twice."
            self._error("already", message, subnet.place, "Give each address once.")
        self._addresses.add(str(subnet.address.ip))

    def _error(
        self, code: str, message: str, place: Place, fix: str = "", fixes: tuple[Fix, ...] = ()
    ) -> None:
        happens = "The host stops halfway, after it has wiped its network."
        self._find(ERROR, code, message, place, happens, fix, fixes)


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)
