# SPDX-License-Identifier: Apache-2.0
"""Cases from the rules of spec esxi a.2 to a.6; a host that keeps state takes every promise."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.vmware.host import Host, Refused
from webapp.errors import Problem
from webapp.vmware import storage
from webapp.vmware.mending import mend
from webapp.vmware.model import Fix
from webapp.vmware.picture import describe, draw
from webapp.vmware.plan import Plan, plan
from webapp.vmware.reading import Unreadable

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

# name -> (text, the exact commands, or the code of an error)
CASES: dict[str, tuple[str, list[str] | str]] = {
    # -- v1: one NIC
    "static": (v1(p("e0", A, ONE)), [*BASE, *NET]),
    "MAC in capitals": (v1(p("e0", A.upper(), ONE)), [*BASE, *NET]),
    "address and netmask apart": (
        v1(p("e0", A, {"type": "static", "address": "10.0.0.5", "netmask": "255.255.0.0"})),
        [*BASE, ip4(0, "10.0.0.5", "255.255.0.0")],
    ),
    "a /32": (v1(p("e0", A, s("10.0.0.5/32"))), [*BASE, ip4(0, "10.0.0.5", "255.255.255.255")]),
    "dhcp4": (v1(p("e0", A, {"type": "dhcp4"})), [*BASE, DHCP4.format(0)]),
    "dhcp6": (v1(p("e0", A, {"type": "dhcp6"})), [*BASE, DHCP6.format(0)]),
    "dhcp is both": (v1(p("e0", A, {"type": "dhcp"})), [*BASE, DHCP4.format(0), DHCP6.format(0)]),
    "IPv6 keeps its prefix": (
        v1(p("e0", A, s("2001:db8::5/64"))),
        [*BASE, ip6(0, "2001:db8::5/64")],
    ),
    "IPv6 with gateway": (
        v1(p("e0", A, s("2001:db8::5/64", "2001:db8::1"))),
        [*BASE, ip6(0, "2001:db8::5/64"), *gw6(0, "2001:db8::1")],
    ),
    "MTU on both": (
        v1(p("e0", A, ONE, mtu=9000)),
        [*switch("vSwitch0", "vmnic0", mtu=9000), *vmk(0, "e0", "vSwitch0", mtu=9000, mac=A), *NET],
    ),
    "a NIC without addresses stays free": (
        v1(p("e0", A), p("e1", B, ONE)),
        [*switch("vSwitch0", "vmnic1"), *vmk(0, "e1", "vSwitch0", mac=B), *NET],
    ),
    "a NIC with manual only stays free": (
        v1(p("e0", A, {"type": "manual"}), p("e1", B, ONE)),
        [*switch("vSwitch0", "vmnic1"), *vmk(0, "e1", "vSwitch0", mac=B), *NET],
    ),
    "two NICs are two switches": (
        v1(p("e0", A, ONE), p("e1", B, s("10.1.0.5/24"))),
        [
            *BASE,
            *NET,
            *switch("vSwitch1", "vmnic1"),
            *vmk(1, "e1", "vSwitch1", mac=B),
            ip4(1, "10.1.0.5"),
        ],
    ),
    "an alias is a portgroup of its own": (
        v1(p("e0", A, ONE, s("10.0.0.6/24"))),
        [*BASE, *NET, *vmk(1, "e0:1", "vSwitch0"), ip4(1, "10.0.0.6")],
    ),
    "two aliases": (
        v1(p("e0", A, ONE, s("10.0.0.6/24"), s("10.0.0.7/24"))),
        [
            *BASE,
            *NET,
            *vmk(1, "e0:1", "vSwitch0"),
            ip4(1, "10.0.0.6"),
            *vmk(2, "e0:2", "vSwitch0"),
            ip4(2, "10.0.0.7"),
        ],
    ),
    "static and dhcp6": (
        v1(p("e0", A, ONE, {"type": "dhcp6"})),
        [*BASE, *NET, *vmk(1, "e0:1", "vSwitch0"), DHCP6.format(1)],
    ),
    "routes": (
        v1(
            p("e0", A, s("10.0.0.5/24", routes=[{"network": "10.9.0.0/16", "gateway": "10.0.0.2"}]))
        ),
        [*BASE, ip4(0, "10.0.0.5"), "ip route ipv4 add -g 10.0.0.2 -n 10.9.0.0/16"],
    ),
    "the same route twice is added once": (
        v1(
            p(
                "e0",
                A,
                s("10.0.0.5/24", routes=[{"network": "10.9.0.0/16", "gateway": "10.0.0.2"}] * 2),
            )
        ),
        [*BASE, ip4(0, "10.0.0.5"), "ip route ipv4 add -g 10.0.0.2 -n 10.9.0.0/16"],
    ),
    "DNS as a list": (
        v1(
            p("e0", A, ONE),
            {"type": "nameserver", "address": ["10.0.0.2", "10.0.0.3"], "search": ["lab"]},
        ),
        [
            *BASE,
            *NET,
            "ip dns server add -s 10.0.0.2",
            "ip dns server add -s 10.0.0.3",
            "ip dns search add -d lab",
        ],
    ),
    "DNS as a text": (
        v1(p("e0", A, ONE), {"type": "nameserver", "address": "10.0.0.2"}),
        [*BASE, *NET, "ip dns server add -s 10.0.0.2"],
    ),
    "loopback is no matter": (
        v1({"type": "loopback", "name": "lo"}, p("e0", A, ONE)),
        [*BASE, *NET],
    ),
    # -- v1: bonds
    "balance-rr": (
        v1(*TWO, bond("balance-rr", ONE)),
        [
            *switch("vSwitch0", "vmnic0", "vmnic1", team="portid"),
            *vmk(0, "bond0", "vSwitch0"),
            *NET,
        ],
    ),
    "active-backup": (
        v1(*TWO, bond("active-backup", ONE)),
        [
            *switch("vSwitch0", "vmnic0", "vmnic1", team="explicit"),
            *vmk(0, "bond0", "vSwitch0"),
            *NET,
        ],
    ),
    "active-backup by the bond's MAC": (
        v1(*TWO, bond("active-backup", ONE, mac_address=B)),
        [
            *switch("vSwitch0", "vmnic1", "vmnic0", team="explicit"),
            *vmk(0, "bond0", "vSwitch0", mac=B),
            *NET,
        ],
    ),
    "802.3ad": (
        v1(
            *TWO,
            bond(
                "802.3ad",
                ONE,
                params={"bond-lacp-rate": "fast", "bond-xmit-hash-policy": "layer3+4"},
            ),
        ),
        [
            *switch("vSwitch0", "vmnic0", "vmnic1", team="iphash"),
            *vmk(0, "bond0", "vSwitch0"),
            *NET,
        ],
    ),
    "vmnic1 beside vmnic10": (
        v1(p("e0", C), p("e1", B), bond("active-backup", ONE, mac_address=C)),
        [
            *switch("vSwitch0", "vmnic10", "vmnic1", team="explicit"),
            *vmk(0, "bond0", "vSwitch0", mac=C),
            *NET,
        ],
    ),
    "a bond without addresses is for virtual machines": (
        v1(*TWO, p("e2", C, ONE), bond("balance-rr")),
        [
            *switch("vSwitch0", "vmnic10"),
            *vmk(0, "e2", "vSwitch0", mac=C),
            *NET,
            *switch("vSwitch1", "vmnic0", "vmnic1", team="portid"),
        ],
    ),
    "a bond with manual makes no interface": (
        v1(*TWO, p("e2", C, ONE), bond("balance-rr", {"type": "manual"})),
        [
            *switch("vSwitch0", "vmnic10"),
            *vmk(0, "e2", "vSwitch0", mac=C),
            *NET,
            *switch("vSwitch1", "vmnic0", "vmnic1", team="portid"),
        ],
    ),
    # -- v1: VLANs
    "a VLAN on a configured NIC shares its switch": (
        v1(p("e0", A, ONE), vlan("v7", "e0", 7, s("10.7.0.5/24"))),
        [*BASE, *NET, *vmk(1, "v7", "vSwitch0", vlan=7), ip4(1, "10.7.0.5")],
    ),
    "a VLAN on an unconfigured NIC makes one": (
        v1(p("e0", A), vlan("v7", "e0", 7, s("10.7.0.5/24", "10.7.0.1"))),
        [
            *switch("vSwitch0", "vmnic0"),
            *vmk(0, "v7", "vSwitch0", vlan=7),
            ip4(0, "10.7.0.5"),
            gw4("10.7.0.1"),
        ],
    ),
    "a second VLAN shares it": (
        v1(
            p("e0", A), vlan("v7", "e0", 7, s("10.7.0.5/24")), vlan("v8", "e0", 8, s("10.8.0.5/24"))
        ),
        [
            *switch("vSwitch0", "vmnic0"),
            *vmk(0, "v7", "vSwitch0", vlan=7),
            ip4(0, "10.7.0.5"),
            *vmk(1, "v8", "vSwitch0", vlan=8),
            ip4(1, "10.8.0.5"),
        ],
    ),
    "a VLAN on a bond": (
        v1(*TWO, bond("802.3ad"), vlan("v7", "bond0", 7, s("10.7.0.5/24"))),
        [
            *switch("vSwitch0", "vmnic0", "vmnic1", team="iphash"),
            *vmk(0, "v7", "vSwitch0", vlan=7),
            ip4(0, "10.7.0.5"),
        ],
    ),
    "a VLAN before its parent": (
        v1(vlan("v7", "e0", 7, s("10.7.0.5/24")), p("e0", A, ONE)),
        [*BASE, *NET, *vmk(1, "v7", "vSwitch0", vlan=7), ip4(1, "10.7.0.5")],
    ),
    "a VLAN with aliases": (
        v1(p("e0", A), vlan("v7", "e0", 7, s("10.7.0.5/24"), s("10.7.0.6/24"))),
        [
            *switch("vSwitch0", "vmnic0"),
            *vmk(0, "v7", "vSwitch0", vlan=7),
            ip4(0, "10.7.0.5"),
            *vmk(1, "v7:1", "vSwitch0", vlan=7),
            ip4(1, "10.7.0.6"),
        ],
    ),
    "the MTU of a VLAN is that of a new switch": (
        v1(p("e0", A), vlan("v7", "e0", 7, s("10.7.0.5/24"), mtu=4000)),
        [
            *switch("vSwitch0", "vmnic0", mtu=4000),
            *vmk(0, "v7", "vSwitch0", vlan=7, mtu=4000),
            ip4(0, "10.7.0.5"),
        ],
    ),
    "a VLAN's MTU above its switch is cut": (
        v1(p("e0", A, ONE), vlan("v7", "e0", 7, s("10.7.0.5/24"), mtu=9000)),
        [*BASE, *NET, *vmk(1, "v7", "vSwitch0", vlan=7, mtu=1500), ip4(1, "10.7.0.5")],
    ),
    # -- v1: what a host cannot have
    "bridge": (
        v1(p("e0", A), {"type": "bridge", "name": "br0", "bridge_interfaces": ["e0"]}),
        "bridge",
    ),
    "balance-alb": (v1(*TWO, bond("balance-alb", ONE)), "bond-mode"),
    "balance-tlb": (v1(*TWO, bond("balance-tlb", ONE)), "bond-mode"),
    "balance-xor": (v1(*TWO, bond("balance-xor", ONE)), "bond-mode"),
    "broadcast": (v1(*TWO, bond("broadcast", ONE)), "bond-mode"),
    "a number as mode": (v1(*TWO, bond("1", ONE)), "bond-mode"),
    "no mode": (v1(*TWO, bond("", ONE)), "bond-mode"),
    "an unknown NIC": (v1(p("e0", "52:54:00:00:00:ff", ONE)), "unmapped"),
    "an unknown member": (v1(p("e0", A), bond("balance-rr", ONE)), "unmapped"),
    "a bond's MAC of nobody": (v1(*TWO, bond("balance-rr", ONE, mac_address=C)), "unmapped"),
    "an auto address that was not chosen": (v1(p("e0", A, s("None/24"))), "address"),
    "no address": (v1(p("e0", A, {"type": "static"})), "address"),
    "rubbish as address": (v1(p("e0", A, s("10.0.0.300/24"))), "address"),
    "a route without gateway": (
        v1(p("e0", A, s("10.0.0.5/24", routes=[{"network": "10.9.0.0/16"}]))),
        "route",
    ),
    "an unknown kind of subnet": (v1(p("e0", A, {"type": "ppp"})), "subnet-type"),
    "a NIC used twice": (v1(p("e0", A, ONE), p("e1", A, s("10.1.0.5/24"))), "already"),
    "a name used twice": (v1(p("e0", A, ONE), p("e0", B, s("10.1.0.5/24"))), "already"),
    "an address used twice": (v1(p("e0", A, ONE), p("e1", B, s("10.0.0.5/24"))), "already"),
    "a member with an address": (v1(p("e0", A, ONE), p("e1", B), bond("balance-rr")), "already"),
    "a VLAN on nothing": (v1(vlan("v7", "e9", 7, s("10.7.0.5/24"))), "parent"),
    "a VLAN on a VLAN": (
        v1(p("e0", A), vlan("v7", "e0", 7), vlan("v8", "v7", 8, s("10.8.0.5/24"))),
        "parent",
    ),
    "a VLAN id of 4095": (v1(p("e0", A), vlan("v7", "e0", 4095, s("10.7.0.5/24"))), "vlan"),
    "an MTU of 100": (v1(p("e0", A, ONE, mtu=100)), "mtu"),
    "a gateway elsewhere": (v1(p("e0", A, s("10.0.0.5/24", "10.1.0.1"))), "gateway"),
    "infiniband": (v1({"type": "infiniband", "name": "ib0"}), "type"),
    # -- netplan v2
    "v2 static": (
        v2(ethernets={"e0": eth(A, addresses=["10.0.0.5/24"], gateway4="10.0.0.1")}),
        [*BASE, *NET],
    ),
    "v2 default route": (
        v2(
            ethernets={
                "e0": eth(
                    A, addresses=["10.0.0.5/24"], routes=[{"to": "default", "via": "10.0.0.1"}]
                )
            }
        ),
        [*BASE, *NET],
    ),
    "v2 0.0.0.0/0": (
        v2(
            ethernets={
                "e0": eth(
                    A, addresses=["10.0.0.5/24"], routes=[{"to": "0.0.0.0/0", "via": "10.0.0.1"}]
                )
            }
        ),
        [*BASE, *NET],
    ),
    "v2 dhcp4": (v2(ethernets={"e0": eth(A, dhcp4=True)}), [*BASE, DHCP4.format(0)]),
    "v2 addresses before dhcp": (
        v2(ethernets={"e0": eth(A, dhcp6=True, addresses=["10.0.0.5/24"])}),
        [*BASE, ip4(0, "10.0.0.5"), *vmk(1, "e0:1", "vSwitch0"), DHCP6.format(1)],
    ),
    "v2 aliases": (
        v2(ethernets={"e0": eth(A, addresses=["10.0.0.5/24", "10.0.0.6/24"])}),
        [*BASE, ip4(0, "10.0.0.5"), *vmk(1, "e0:1", "vSwitch0"), ip4(1, "10.0.0.6")],
    ),
    "v2 set-name": (
        v2(ethernets={"x": eth(A, **{"set-name": "e0"}, addresses=["10.0.0.5/24"])}),
        [*BASE, ip4(0, "10.0.0.5")],
    ),
    "v2 IPv6": (
        v2(ethernets={"e0": eth(A, addresses=["2001:db8::5/64"], gateway6="2001:db8::1")}),
        [*BASE, ip6(0, "2001:db8::5/64"), *gw6(0, "2001:db8::1")],
    ),
    "v2 DNS joined without doubles": (
        v2(
            ethernets={
                "e0": eth(A, addresses=["10.0.0.5/24"], nameservers={"addresses": ["10.0.0.2"]}),
                "e1": eth(B, nameservers={"addresses": ["10.0.0.2", "10.0.0.3"]}),
            }
        ),
        [
            *BASE,
            ip4(0, "10.0.0.5"),
            "ip dns server add -s 10.0.0.2",
            "ip dns server add -s 10.0.0.3",
        ],
    ),
    "v2 bond with primary": (
        v2(
            ethernets={"e0": eth(A), "e1": eth(B)},
            bonds={
                "bond0": {
                    "interfaces": ["e0", "e1"],
                    "addresses": ["10.0.0.5/24"],
                    "parameters": {"mode": "active-backup", "primary": "e1"},
                }
            },
        ),
        [
            *switch("vSwitch0", "vmnic1", "vmnic0", team="explicit"),
            *vmk(0, "bond0", "vSwitch0"),
            ip4(0, "10.0.0.5"),
        ],
    ),
    "v2 802.3ad": (
        v2(
            ethernets={"e0": eth(A), "e1": eth(B)},
            bonds={
                "bond0": {
                    "interfaces": ["e0", "e1"],
                    "addresses": ["10.0.0.5/24"],
                    "parameters": {"mode": "802.3ad", "lacp-rate": "fast"},
                }
            },
        ),
        [
            *switch("vSwitch0", "vmnic0", "vmnic1", team="iphash"),
            *vmk(0, "bond0", "vSwitch0"),
            ip4(0, "10.0.0.5"),
        ],
    ),
    "v2 VLAN": (
        v2(
            ethernets={"e0": eth(A)},
            vlans={"v7": {"id": 7, "link": "e0", "addresses": ["10.7.0.5/24"]}},
        ),
        [*switch("vSwitch0", "vmnic0"), *vmk(0, "v7", "vSwitch0", vlan=7), ip4(0, "10.7.0.5")],
    ),
    "v2 bridge": (v2(ethernets={"e0": eth(A)}, bridges={"br0": {"interfaces": ["e0"]}}), "bridge"),
    "v2 tunnel": (v2(tunnels={"t": {"mode": "gre"}}), "type"),
    "v2 match by driver": (
        v2(ethernets={"e0": {"match": {"driver": "ixgbe"}, "dhcp4": True}}),
        "match",
    ),
    "v2 other bond mode": (
        v2(
            ethernets={"e0": eth(A), "e1": eth(B)},
            bonds={"bond0": {"interfaces": ["e0", "e1"], "parameters": {"mode": "balance-xor"}}},
        ),
        "bond-mode",
    ),
    "v2 routing policy": (
        v2(ethernets={"e0": eth(A, dhcp4=True, **{"routing-policy": [{}]})}),
        "type",
    ),
}


def run(made: Plan, nics: dict[str, str] = NICS) -> Host:
    """Let a host run it; it refuses nothing of a promise."""
    host = Host(list(nics))
    for line in made.commands:
        host.run(line)
    assert all(v.v4 or v.v6 or v.dhcp4 or v.dhcp6 for v in host.vmks.values())
    return host


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str) -> None:
    text, expected = CASES[name]
    made = plan(text, NICS)
    if isinstance(expected, str):
        assert made.commands == []
        assert expected in {f.code for f in made.findings if f.grade == "error"}, made.findings
        error = next(f for f in made.findings if f.code == expected)
        assert error.place.line >= 1
        assert error.fix or error.fixes
        return
    assert made.is_promise, made.findings
    assert [line.removeprefix("esxcli network ") for line in made.commands] == expected
    run(made)


@pytest.mark.parametrize("name", CASES)
def test_every_case_can_be_drawn_and_told(name: str) -> None:
    made = plan(CASES[name][0], NICS)
    ElementTree.fromstring(draw(made))
    assert describe(made)
    json.dumps(made.as_dict())
    if made.is_promise and made.vmks:
        assert f"on {made.vmks[0].name}" in made.management


def test_vlan_ids_that_mean_none_and_all_are_not_said_to_be_refused_only() -> None:
    """A portgroup takes 0 and 4095, so a host may be cut off without one word of refusal."""
    (finding,) = (f for f in plan(CASES["a VLAN id of 4095"][0], NICS).findings if f.code == "vlan")
    assert "0 for no VLAN and 4095 for all of them" in finding.happens


def test_what_was_asked_stands_beside_what_is_got() -> None:
    made = plan(CASES["active-backup by the bond's MAC"][0], NICS)
    rows = {row[0]: row[1:] for row in made.asked}
    assert rows["e0"] == ("NIC", "an uplink of vSwitch0")
    assert rows["bond0"][0] == "bond; active-backup of e0, e1; 10.0.0.5/24"
    assert rows["bond0"][1] == (
        "vSwitch0; uplinks vmnic1, vmnic0; teaming explicit; vmk0 10.0.0.5/24"
    )
    assert made.management == "10.0.0.5 on vmk0 via vmnic1"


def test_a_host_that_keeps_state_refuses_what_hosts_refuse() -> None:
    """The double itself: it can fail."""
    host = Host(["vmnic0"])
    good = [
        f"esxcli network {line}"
        for line in [*switch("vSwitch0", "vmnic0"), *vmk(0, "a", "vSwitch0")]
    ]
    for line in good:
        host.run(line)
    for line in (
        good[0],
        good[1],
        f"esxcli network {SWITCH} uplink add -v vSwitch0 -u vmnic7",
        f"esxcli network {SWITCH} set -v vSwitch0 -m None",
        f"esxcli network {SWITCH} portgroup add -p a -v vSwitch0",
        "esxcli network ip interface ipv6 address add -i vmk0 -I 2001:db8::5",
        "esxcli network ip route ipv4 add --gateway=10.0.0.1 --network=default",
        "esxcli network nonsense",
    ):
        with pytest.raises(Refused):
            host.run(line)


# -- mending


def codes(text: str, grade: str = "error") -> set[str]:
    return {f.code for f in plan(text, NICS).findings if f.grade == grade}


@pytest.mark.parametrize(
    "name", ["balance-alb", "no mode", "v2 other bond mode", "bridge", "v2 bridge"]
)
def test_every_offered_step_mends_its_error(name: str) -> None:
    text = CASES[name][0]
    (error,) = [f for f in plan(text, NICS).findings if f.grade == "error"]
    assert error.fixes
    for fix in error.fixes:
        made = plan(mend(text, fix), NICS)
        assert made.is_promise, made.findings
        run(made)


def test_another_nic_is_made_active_in_both_dialects() -> None:
    for name in ("active-backup", "v2 bond with primary"):
        text = CASES[name][0]
        made = plan(text, NICS)
        note = next(f for f in made.findings if f.code == "active")
        (fix,) = note.fixes
        before = made.vswitches[0].uplinks
        after = plan(mend(text, fix), NICS).vswitches[0].uplinks
        assert after == before[::-1]


def test_the_addresses_of_a_dropped_bridge_go_to_what_is_below() -> None:
    text = v1(
        p("e0", A),
        {"type": "bridge", "name": "br0", "bridge_interfaces": ["e0"], "subnets": [ONE]},
        vlan("v7", "br0", 7, s("10.7.0.5/24")),
    )
    made = plan(mend(text, Fix("", "drop-bridge", "br0")), NICS)
    assert [str(v.address) for v in made.vmks] == ["10.0.0.5/24", "10.7.0.5/24"]
    run(made)
    text = v2(
        ethernets={"e0": eth(A)},
        bridges={"br0": {"interfaces": ["e0"], "addresses": ["10.0.0.5/24"]}},
    )
    assert plan(mend(text, Fix("", "drop-bridge", "br0")), NICS).vmks


BY_HAND = """\
# Rack 7, host 3: ask Ada before you change this.
network:
  version: 1
  config:
    - type: physical   # left port
      name: "e0"
      mac_address: 52:54:00:12:34:56
    - {type: physical, name: e1, mac_address: '52:54:00:12:34:57'}

    # both ports together
    - type: bond
      name: bond0
      bond_interfaces: [e0, e1]
      params:
        bond-mode: balance-alb  # was fine on Linux
      subnets:
        - type: static
          address: 10.0.0.5/24
"""


def test_a_step_changes_what_it_is_about_and_no_other_character() -> None:
    made = mend(BY_HAND, Fix("", "mode", "bond0", "802.3ad"))
    assert made == BY_HAND.replace("balance-alb  #", "802.3ad      #")
    assert mend(made, Fix("", "mode", "bond0", "balance-alb")) == BY_HAND


def test_lists_keep_their_indentation_and_words_their_spelling() -> None:
    text = (
        "ethernets:\n  e0:\n    dhcp4: yes\n    match: {macaddress: 52:54:00:12:34:56}\n"
        "bonds:\n  b0:\n    interfaces:\n    - e0\n    dhcp4: on # DHCP\n    mtu: 0x5dc\n"
        "    parameters:\n      mode: broadcast\n"
    )
    made = mend(text, Fix("", "mode", "b0", "active-backup"))
    assert made == text.replace("broadcast", "active-backup")


def test_json_stays_json() -> None:
    text = json.dumps(yaml.safe_load(BY_HAND.replace("52:54:00:12:34:56", "'52:54:00:12:34:56'")))
    made = mend(text, Fix("", "mode", "bond0", "802.3ad"))
    assert json.loads(made)["network"]["config"][2]["params"] == {"bond-mode": "802.3ad"}


def test_a_step_that_fits_nothing_is_refused() -> None:
    for fix in (
        Fix("", "mode", "bond9", "802.3ad"),
        Fix("", "nonsense", "x"),
        Fix("", "active", "bond0", "e9"),
    ):
        with pytest.raises(Problem):
            mend(CASES["active-backup"][0], fix)
    for odd in ("2001-99-99", "!!int x", "!!bool x", "!!binary zzz"):
        with pytest.raises(Problem, match="quotes"):
            mend(f"{BY_HAND}odd: {odd}\n", Fix("", "mode", "bond0", "802.3ad"))
    with pytest.raises(Unreadable):
        mend("a: &x 1\nb: *x", Fix("", "mode", "b", "c"))


def test_more_than_a_host_can_have_is_refused() -> None:
    many = [s(f"10.0.{n // 250}.{n % 250 + 1}/16") for n in range(257)]
    assert "limit" in codes(v1(p("e0", A, *many)))


# -- any input


NAMES = st.sampled_from(["e0", "e1", "e2", "bond0", "v7", "x" * 90, "a b"])
MACS = st.sampled_from([A, B, C, A.upper(), "nonsense", ""])
SUBNET = st.sampled_from(
    [
        ONE,
        s("10.0.0.6/24"),
        s("2001:db8::5/64", "2001:db8::1"),
        {"type": "dhcp"},
        {"type": "manual"},
        {"type": "dhcp4"},
        s("None/24"),
        s("10.1.0.5/16", routes=[{"network": "10.9.0.0/16", "gateway": "10.1.0.9"}]),
    ]
)
ENTRY = st.one_of(
    st.builds(
        lambda n, m, x, mtu: p(n, m, *x, **({"mtu": mtu} if mtu else {})),
        NAMES,
        MACS,
        st.lists(SUBNET, max_size=3),
        st.sampled_from([0, 1500, 9000, 10]),
    ),
    st.builds(
        lambda m, x, members: bond(m, *x, members=tuple(members)),
        st.sampled_from(["802.3ad", "active-backup", "balance-rr", "balance-alb"]),
        st.lists(SUBNET, max_size=2),
        st.lists(NAMES, max_size=3),
    ),
    st.builds(
        lambda n, parent, i, x: vlan(n, parent, i, *x),
        NAMES,
        NAMES,
        st.sampled_from([1, 7, 4094, 4095, "x"]),
        st.lists(SUBNET, max_size=2),
    ),
    st.sampled_from(
        [{"type": "nameserver", "address": "10.0.0.2"}, {"type": "bridge", "name": "br0"}]
    ),
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(entries=st.lists(ENTRY, max_size=6))
def test_a_host_refuses_nothing_of_any_promise(entries: list[Any]) -> None:
    made = plan(v1(*entries), NICS)
    ElementTree.fromstring(draw(made))
    for finding in made.findings:
        for fix in finding.fixes:
            plan(mend(v1(*entries), fix), NICS)
    if made.is_promise:
        run(made)


# -- storage


@pytest.mark.parametrize(
    ("target", "errors"),
    [
        (storage.Target("6.7", 10 << 30), set()),
        (storage.Target("6.7", 9 << 30), {"size"}),
        (storage.Target("8", 32 << 30), set()),
        (storage.Target("8", 31 << 30), {"size"}),
        (storage.Target("7", 64 << 30, "vmfs6"), {"layout"}),
        (storage.Target("6.7", 64 << 30, "vmfs7"), {"layout"}),
        (storage.Target("9", 64 << 30, "linux"), set()),
        (storage.Target("8", 64 << 30, "lvm"), {"layout"}),
        (storage.Target("8", 64 << 30, "vmfs7", 0), {"datastore"}),
        (storage.Target("8", 64 << 30, "vmfs7", 1), set()),
        (storage.Target("8", 64 << 30, has_serial=False), {"serial"}),
        (storage.Target("8", 64 << 30, partitions_changed=(8,)), set()),
        (storage.Target("8", 64 << 30, partitions_changed=(7,)), {"reserved"}),
        (storage.Target("6.7", 64 << 30, partitions_changed=(3,)), set()),
        (storage.Target("6.7", 64 << 30, partitions_changed=(9,)), {"reserved"}),
        (storage.Target("6.5", 64 << 30), {"version"}),
        (storage.Target("12", 64 << 30), {"version"}),
        (storage.Target("", 64 << 30), {"version"}),
    ],
)
def test_storage_is_held_against_the_version(target: storage.Target, errors: set[str]) -> None:
    found = storage.check(target)
    assert {r.code for r in found.remarks if r.grade == "error"} == errors
    assert found.is_fine is not bool(errors)
    assert all(r.message.endswith(".") for r in found.remarks)
