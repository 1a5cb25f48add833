# SPDX-License-Identifier: Apache-2.0
"""What both formats are read into, and the findings made along the way."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

from webapp.severity import Severity
from webapp.vmware.reading import Place, Value

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IP = ipaddress.IPv4Address | ipaddress.IPv6Address

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARN, Severity.INFO
MAX_FINDINGS = 1000
# The deployment script wipes the host's network before it applies anything.
STOPS = "The host's script stops after it has wiped the network."
SKIPPED = "The host's script skips it, and everything that depends on it."


@dataclass(frozen=True)
class Fix:
    """A step that repairs a configuration; see fixes. op: mode, active or drop-bridge."""

    label: str
    op: str
    name: str
    value: str = ""


@dataclass(frozen=True)
class Finding:
    """Something to know before a host is deployed.

    severity: ERROR (there are no commands), WARNING (it works, but not as asked) or NOTE.
    happens: what the host would do. fix: the next step; fixes: steps that Slipway can take.
    """

    severity: Severity
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
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "place": place,
            "happens": self.happens,
            "fix": self.fix,
            "fixes": [vars(fix) for fix in self.fixes],
        }


@dataclass(frozen=True)
class Route:
    """A route; ``network`` is "default" for the default gateway."""

    network: str
    gateway: IP
    place: Place
    metric: int = 0
    on_link: bool = False


@dataclass
class Subnet:
    """One address of a link: ``static`` with its address, or ``dhcp4``, ``dhcp6``, ``slaac``."""

    kinds: tuple[str, ...]
    place: Place
    address: Address | None = None

    def has_family(self, version: int) -> bool:
        """Whether it gives an address of IPv4 (4) or IPv6 (6)."""
        if self.address is not None:
            return self.address.version == version
        return bool({4: {"dhcp4"}, 6: {"dhcp6", "slaac"}}[version] & set(self.kinds))


@dataclass
class Link:
    """A physical NIC, a bond or a VLAN.

    name: what other devices call it. label: the name of its portgroup, if that differs.
    has_wrong_match: what identifies its NIC can't, which is an error already.
    """

    kind: str
    name: str
    place: Place
    label: str = ""
    mac: str = ""
    has_wrong_match: bool = False
    mtu: int | None = None
    subnets: list[Subnet] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    mode: str = ""
    primary: str = ""
    parent: str = ""
    vlan_id: int | None = None

    @property
    def portgroup(self) -> str:
        """The name of its first portgroup."""
        return self.label or self.name


@dataclass
class Config:
    """A whole configuration, and what was found while it was read.

    routes: those that belong to no device. finds_nics_by_order: NICs without a MAC
    address are counted (netplan); otherwise each needs one (v1). suggestions: how many
    more misspelt keys are compared with the known ones.
    """

    links: list[Link] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    finds_nics_by_order: bool = False
    suggestions: int = 100

    def find(
        self,
        severity: Severity,
        code: str,
        message: str,
        place: Place,
        happens: str = "",
        fix: str = "",
        fixes: tuple[Fix, ...] = (),
    ) -> None:
        """Add a finding; the one after the last that fits says that there are more."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(severity, code, message, place, happens, fix, fixes))
        elif len(self.findings) == MAX_FINDINGS:
            message = f"There are more than {MAX_FINDINGS} findings; the rest aren't shown."
            self.findings.append(Finding(ERROR, "limit", message, place))


def shown(value: Value) -> str:
    """A value as findings repeat it: short, and never a whole document."""
    if value.is_null:
        return "empty"
    return repr(value.text[:60]) if value.text is not None else f"a {value.kind}"


@dataclass
class VSwitch:
    """A standard vSwitch; ``policy`` is "" without a team. ``uplinks``: the active one first."""

    name: str
    uplinks: list[str]
    mtu: int | None = None
    policy: str = ""


@dataclass(frozen=True)
class VMKernel:
    """A VMkernel interface with its portgroup (vlan 0: untagged), address and routes."""

    name: str
    portgroup: str
    vswitch: str
    vlan: int
    mtu: int | None
    mac: str
    kinds: tuple[str, ...]
    address: Address | None
    routes: list[Route] = field(default_factory=list)
