# SPDX-License-Identifier: Apache-2.0
"""What both dialects are read into, and what is found wrong with them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

from webapp.vmware.reading import Place, Value

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IP = ipaddress.IPv4Address | ipaddress.IPv6Address

ERROR, WARNING, NOTE = "error", "warning", "note"
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class Fix:
    """A step that mends a configuration; see mending. op: mode, active or drop-bridge."""

    label: str
    op: str
    name: str
    value: str = ""


@dataclass(frozen=True)
class Finding:
    """Something a person should know before a host is deployed.

    grade: ``error`` (the plan is no promise), ``warning`` (it works, otherwise
    than asked), ``note``. happens: what the host would do. fix: the next step;
    fixes: steps that can be taken by themselves.
    """

    grade: str
    code: str
    message: str
    place: Place
    happens: str = ""
    fix: str = ""
    fixes: tuple[Fix, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        place = {"line": self.place.line, "column": self.place.column, "path": self.place.path}
        return {
            "grade": self.grade,
            "code": self.code,
            "message": self.message,
            "place": place,
            "happens": self.happens,
            "fix": self.fix,
            "fixes": [vars(fix) for fix in self.fixes],
        }


@dataclass(frozen=True)
class Route:
    """A way to a network; ``network`` "default" for the default gateway."""

    network: str
    gateway: IP
    place: Place


@dataclass
class Subnet:
    """One address of a link: ``static`` with its address, ``dhcp4``, ``dhcp6`` or both."""

    kinds: tuple[str, ...]
    place: Place
    address: Address | None = None
    routes: list[Route] = field(default_factory=list)


@dataclass
class Link:
    """A physical NIC, a bond or a VLAN."""

    kind: str
    name: str
    place: Place
    mac: str = ""
    mtu: int | None = None
    subnets: list[Subnet] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    mode: str = ""
    primary: str = ""
    parent: str = ""
    vlan_id: int | None = None


@dataclass
class Config:
    """A whole configuration, and what was found while it was read."""

    links: list[Link] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(
        self,
        grade: str,
        code: str,
        message: str,
        place: Place,
        happens: str = "",
        fix: str = "",
        fixes: tuple[Fix, ...] = (),
    ) -> None:
        """Note a finding."""
        self.findings.append(Finding(grade, code, message, place, happens, fix, fixes))

    # -- scalars, each checked where it is read

    def mac(self, value: Value | None) -> str:
        """A MAC address in lower case with colons; "" and an error when it is none."""
        if value is None:
            return ""
        mac = (value.text or "").lower().replace("-", ":")
        if _MAC.fullmatch(mac):
            return mac
        self.find(
            ERROR,
            "mac",
            f"{shown(value)} is no MAC address.",
            value.place,
            "No NIC of the host is found by it.",
            "Write it as 52:54:00:12:34:56.",
        )
        return ""

    def number(
        self,
        value: Value | None,
        low: int,
        high: int,
        code: str,
        what: str,
        happens: str = "The host refuses the command.",
    ) -> int | None:
        """A whole number within bounds; None and an error when it is none."""
        if value is None:
            return None
        text = value.text or ""
        if text.isascii() and text.isdigit() and len(text) < 7 and low <= int(text) <= high:
            return int(text)
        self.find(
            ERROR,
            code,
            f"{shown(value)} is no {what}.",
            value.place,
            happens,
            f"Use a number from {low} to {high}.",
        )
        return None

    def mtu(self, value: Value | None) -> int | None:
        """An MTU that ESXi takes (spec esxi a.2)."""
        return self.number(value, 1280, 9000, "mtu", "MTU that ESXi takes")

    def vlan_id(self, value: Value | None) -> int | None:
        """A VLAN id that separates; a portgroup takes 0 and 4095 too, which mean none and all."""
        happens = "The host refuses the command, or takes 0 for no VLAN and 4095 for all of them."
        return self.number(value, 1, 4094, "vlan", "VLAN id", happens)

    def address(self, value: Value, netmask: str = "") -> Address | None:
        """An address with its prefix; None and an error when it is none."""
        text = value.text or ""
        if "/" not in text and netmask:
            text = f"{text}/{netmask}"
        try:
            if "/" not in text:
                raise ValueError("no prefix")
            return ipaddress.ip_interface(text)
        except ValueError:
            is_open = text.startswith("None")
            self.find(
                ERROR,
                "address",
                "The address is not allocated yet."
                if is_open
                else f"{shown(value)} is no address with a prefix.",
                value.place,
                "The host's script stops after it has wiped the network.",
                "Allocate the address first: start the deployment, or choose a static one."
                if is_open
                else "Write it as 10.0.0.5/24 or 2001:db8::5/64.",
            )
        return None

    def ip(self, value: Value | None, what: str, place: Place) -> IP | None:
        """An address without prefix, such as a gateway's; None and an error when it is none."""
        try:
            return ipaddress.ip_address((value.text or "") if value else "")
        except ValueError:
            self.find(
                ERROR,
                "route",
                f"{shown(value) if value else 'Nothing'} is no address of a {what}.",
                value.place if value else place,
                "The host's script stops after it has wiped the network.",
                f"Give the {what} as an address.",
            )
        return None

    def servers(self, value: Value | None) -> None:
        """Add DNS servers; ESXi has one list for the whole host."""
        for item in value.as_list() if value else ():
            address = self.ip(item, "DNS server", item.place)
            if address is not None and str(address) not in self.dns:
                self.dns.append(str(address))

    def domains(self, value: Value | None) -> None:
        """Add search domains."""
        for item in value.as_list() if value else ():
            name = (item.text or "").rstrip(".")
            if re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", name):
                if name not in self.search:
                    self.search.append(name)
            else:
                fix = "Write it as lab.example."
                self.find(ERROR, "dns", f"{shown(item)} is no domain.", item.place, "", fix)


def shown(value: Value) -> str:
    """A value as findings repeat it: short, and never a whole document."""
    return repr(value.text[:60]) if value.text is not None else f"a {value.kind}"
