# SPDX-License-Identifier: Apache-2.0
"""What an ESXi host gets: vSwitches, VMkernel interfaces, and the findings on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from webapp.vmware import esxcli
from webapp.vmware.model import ERROR, Finding, Link, VMKernel, VSwitch


@dataclass
class HostPlan:
    """What the host gets, and the findings on the way.

    asked: for each device its name, what it asks for and what the host gets.
    """

    vswitches: list[VSwitch] = field(default_factory=list)
    vmks: list[VMKernel] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def management(self) -> str:
        """Where the host can be reached, in one line; "" when nowhere."""
        for vmk in self.vmks:
            switch = next(s for s in self.vswitches if s.name == vmk.vswitch)
            address = str(vmk.address.ip) if vmk.address else "an address by " + _or(vmk.kinds)
            nics = switch.uplinks[:1] if switch.policy == "explicit" else switch.uplinks
            via = f" via {_or(nics)}" if nics else ""
            vlan = f" in VLAN {vmk.vlan}" if vmk.vlan else ""
            return f"{address} on {vmk.name}{via}{vlan}"
        return ""

    @property
    def is_promise(self) -> bool:
        """Whether the host takes every command and can be reached."""
        return not any(finding.severity == ERROR for finding in self.findings)

    @property
    def commands(self) -> list[str]:
        """The esxcli commands in order; none when there are errors."""
        if not self.is_promise:
            return []
        return esxcli.commands(self.vswitches, self.vmks, self.dns, self.search)

    def as_dict(self) -> dict[str, Any]:
        """``commands``, ``findings`` and ``model``, for JSON."""
        vmks = [
            {
                "name": vmk.name,
                "portgroup": vmk.portgroup,
                "vswitch": vmk.vswitch,
                "vlan": vmk.vlan,
                "mtu": vmk.mtu,
                "mac": vmk.mac,
                "addresses": [str(vmk.address)] if vmk.address else list(vmk.kinds),
                "routes": [[route.network, str(route.gateway)] for route in vmk.routes],
            }
            for vmk in self.vmks
        ]
        switches = [
            {"name": s.name, "uplinks": s.uplinks, "mtu": s.mtu, "teaming": s.policy}
            for s in self.vswitches
        ]
        model = {"vswitches": switches, "vmks": vmks, "dns": self.dns, "search": self.search}
        findings = [finding.as_dict() for finding in self.findings]
        asked = [dict(zip(("name", "asked", "gets"), row, strict=True)) for row in self.asked]
        return {
            "commands": self.commands,
            "findings": findings,
            "model": model,
            "asked": asked,
            "management": self.management,
        }


def describe_link(link: Link) -> str:
    """What a device asks for, in words."""
    parts = [{"physical": "NIC", "bond": "bond", "vlan": "VLAN"}[link.kind]]
    if link.kind == "bond":
        parts.append(f"{link.mode or 'no mode'} of {', '.join(link.members)}")
    if link.kind == "vlan":
        parts.append(f"{link.vlan_id} on {link.parent}")
    if link.mtu is not None:
        parts.append(f"MTU {link.mtu}")
    parts += [str(s.address) if s.address else " and ".join(s.kinds) for s in link.subnets]
    return "; ".join(part for part in parts if part)


def _or(words: Iterable[str]) -> str:
    return " or ".join(words)
