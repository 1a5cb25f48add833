# SPDX-License-Identifier: Apache-2.0
"""Builders for configurations and the commands they lead to, and the check of one case."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import yaml

from tests.unit.vmware.host import Host
from webapp.vmware.picture import describe, draw
from webapp.vmware.plan import HostPlan, plan

A, B, C = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c"
NICS = {"vmnic0": A, "vmnic1": B, "vmnic10": C}
SWITCH = "vswitch standard"


def p(name: str, mac: str, *subnets: Any, **more: Any) -> dict[str, Any]:
    entry = {"type": "physical", "name": name, "mac_address": mac, **more}
    return entry | ({"subnets": list(subnets)} if subnets else {})


def s(address: str, gateway: str = "", **more: Any) -> dict[str, Any]:
    found = {"type": "static", "address": address, **more}
    return found | ({"gateway": gateway} if gateway else {})


def bond(mode: str, *subnets: Any, members: tuple[str, ...] = ("e0", "e1"), **more: Any) -> Any:
    params = {"bond-mode": mode, **more.pop("params", {})}
    entry = {"type": "bond", "name": "bond0", "bond_interfaces": list(members), "params": params}
    return entry | more | ({"subnets": list(subnets)} if subnets else {})


def vlan(name: str, parent: str, number: Any, *subnets: Any, **more: Any) -> dict[str, Any]:
    entry = {"type": "vlan", "name": name, "vlan_link": parent, "vlan_id": number, **more}
    return entry | ({"subnets": list(subnets)} if subnets else {})


def v1(*entries: Any) -> str:
    return json.dumps({"version": 1, "config": entries})


def v2(**sections: Any) -> str:
    return yaml.safe_dump({"network": {"version": 2, **sections}})


def eth(mac: str, **more: Any) -> dict[str, Any]:
    return {"match": {"macaddress": mac}, **more}


def switch(name: str, *nics: str, mtu: int = 0, team: str = "") -> list[str]:
    lines = [f"{SWITCH} add -v {name}"]
    lines += [f"{SWITCH} set -v {name} -m {mtu}"] if mtu else []
    lines += [f"{SWITCH} uplink add -v {name} -u {nic}" for nic in nics]
    joined = ",".join(nics)
    return lines + (
        [f"{SWITCH} policy failover set -v {name} -a {joined} -l {team}"] if team else []
    )


def vmk(
    number: int, group: str, name: str, *, vlan: int = 0, mtu: int = 0, mac: str = ""
) -> list[str]:
    lines = [f"{SWITCH} portgroup add -p {group} -v {name}"]
    lines += [f"{SWITCH} portgroup set -p {group} -v {vlan}"] if vlan else []
    more = (f" -m {mtu}" if mtu else "") + (f" -M {mac}" if mac else "")
    return [*lines, f"ip interface add -i vmk{number} -p {group}{more}"]


def ip4(number: int, address: str, mask: str = "255.255.255.0") -> str:
    return f"ip interface ipv4 set -i vmk{number} -t static -I {address} -N {mask}"


def ip6(number: int, address: str) -> str:
    return f"ip interface ipv6 address add -i vmk{number} -I {address}"


def gw4(gateway: str) -> str:
    return f"ip route ipv4 add --gateway={gateway} --network=default"


def gw6(number: int, gateway: str) -> list[str]:
    return [
        f"ip interface ipv6 set -i vmk{number} -g {gateway}",
        f"ip route ipv6 add --gateway={gateway} --network=default",
    ]


DHCP4 = "ip interface ipv4 set -i vmk{} -t dhcp"
DHCP6 = "ip interface ipv6 set -i vmk{} -e true -d true"
ONE = s("10.0.0.5/24", "10.0.0.1")
BASE = [*switch("vSwitch0", "vmnic0"), *vmk(0, "e0", "vSwitch0", mac=A)]
NET = [ip4(0, "10.0.0.5"), gw4("10.0.0.1")]
TWO = (p("e0", A), p("e1", B))


def run(made: HostPlan, nics: dict[str, str] = NICS) -> Host:
    """Run a promise on a host, which refuses nothing of it."""
    host = Host(list(nics))
    for line in made.commands:
        host.run(line)
    assert all(v.v4 or v.v6 or v.dhcp4 or v.dhcp6 or v.slaac for v in host.vmks.values())
    return host


def check(text: str, expected: list[str] | str) -> None:
    """One case: the exact commands, which a host takes, or the code of an error."""
    made = plan(text, NICS)
    ElementTree.fromstring(draw(made))
    assert describe(made)
    json.dumps(made.as_dict())
    if isinstance(expected, str):
        assert made.commands == []
        assert expected in {f.code for f in made.findings if f.severity == "error"}, made.findings
        error = next(f for f in made.findings if f.code == expected)
        assert error.place.line >= 1
        assert error.fix or error.fixes
        return
    assert made.is_promise, made.findings
    assert [line.removeprefix("esxcli network ") for line in made.commands] == expected
    assert f"on {made.vmks[0].name}" in made.management
    run(made)


def found(text: str, severity: str = "error", nics: dict[str, str] | None = NICS) -> set[str]:
    """The codes of the findings of one severity."""
    return {f.code for f in plan(text, nics).findings if f.severity.word == severity}
