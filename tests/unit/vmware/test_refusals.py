# SPDX-License-Identifier: Apache-2.0
"""What a host can't have."""

from __future__ import annotations

import pytest

from tests.unit.vmware.configs import (
    NICS,
    ONE,
    TWO,
    A,
    B,
    C,
    bond,
    check,
    eth,
    found,
    p,
    s,
    v1,
    v2,
    vlan,
)
from webapp.vmware.plan import plan
from webapp.vmware.reading import Unreadable

# name -> (text, the exact commands, or the code of an error)
CASES: dict[str, tuple[str, list[str] | str]] = {
    "bridge": (
        v1(p("e0", A, ONE), {"type": "bridge", "name": "br0", "bridge_interfaces": ["e0"]}),
        "bridge",
    ),
    "balance-alb": (v1(*TWO, bond("balance-alb", ONE)), "bond-mode"),
    "balance-tlb": (v1(*TWO, bond("balance-tlb", ONE)), "bond-mode"),
    "balance-xor": (v1(*TWO, bond("balance-xor", ONE)), "bond-mode"),
    "broadcast": (v1(*TWO, bond("broadcast", ONE)), "bond-mode"),
    "a number that is no mode": (v1(*TWO, bond("7", ONE)), "bond-mode"),
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
}


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str) -> None:
    check(*CASES[name])


def test_vlan_ids_that_mean_none_and_all_are_explained() -> None:
    """A portgroup takes 0 and 4095, so a host can be cut off without an error message."""
    (finding,) = (f for f in plan(CASES["a VLAN id of 4095"][0], NICS).findings if f.code == "vlan")
    assert "0 for no VLAN and 4095 for all of them" in finding.happens


def test_more_than_a_host_can_have_is_refused() -> None:
    many = [s(f"10.0.{n // 250}.{n % 250 + 1}/16") for n in range(257)]
    assert "limit" in found(v1(p("e0", A, *many)))


@pytest.mark.parametrize(
    "text",
    [
        v1(),
        v1(p("e0", A)),
        v1(p("e0", A, {"type": "manual"})),
        v1({"type": "nameserver", "address": "10.0.0.2"}),
        v1({"type": "loopback", "name": "lo", "subnets": [s("10.0.0.5/32")]}),
        v1(*TWO, bond("balance-rr")),
        v2(),
        v2(ethernets={}),
        v2(ethernets={"e0": eth(A)}),
        v2(ethernets={"e0": eth(A, dhcp4=False, **{"accept-ra": True})}),
        v2(ethernets={"lo": {"addresses": ["10.0.0.5/32"]}}),
        v2(ethernets={"e0": eth(A)}, vlans={"v7": {"id": 7, "link": "e0"}}),
    ],
)
def test_a_plan_in_which_no_one_can_reach_the_host_is_an_error(text: str) -> None:
    for nics in (NICS, None):
        assert found(text, "error", nics) == {"no-address"}


@pytest.mark.parametrize(
    ("match", "is_fine"),
    [
        ({"macaddress": A, "driver": "ixgbe"}, True),
        ({"macaddress": A.upper(), "name": "en*"}, True),
        ({"macaddress": A.replace(":", "-"), "name": "e0", "driver": ["ixgbe", "i40e"]}, True),
        ({"driver": "ixgbe"}, False),
        ({"name": "en*"}, False),
        ({}, False),
        ({"macaddress": "52:54:*"}, False),
    ],
)
def test_a_mac_address_finds_a_nic_whatever_else_has_to_match(
    match: dict[str, object], is_fine: bool
) -> None:
    made = plan(v2(ethernets={"e0": {"match": match, "dhcp4": True}}), NICS)
    assert made.is_promise is is_fine
    named = " ".join(f.message for f in made.findings)
    assert all(key in named for key in match if key != "macaddress")
    if is_fine:
        assert made.vswitches[0].uplinks == ["vmnic0"]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ({"netmask": "ffff:ffff:ffff::"}, "2001:db8::5/48"),
        ({"netmask": "64"}, "2001:db8::5/64"),
        ({"netmask": "/56"}, "2001:db8::5/56"),
        ({"prefix": 64}, "2001:db8::5/64"),
        ({"netmask": "ffff::ffff"}, ""),
        ({"netmask": "255.255.255.0"}, ""),
        ({}, ""),
    ],
)
def test_an_ipv6_netmask_is_a_prefix_length(mask: dict[str, object], expected: str) -> None:
    made = plan(v1(p("e0", A, s("2001:db8::5", **mask))), NICS)
    assert [str(vmk.address) for vmk in made.vmks] == ([expected] if expected else [])
    assert made.is_promise is bool(expected)


@pytest.mark.parametrize(
    "match", [{"macaddress": "nonsense"}, {"macaddress": 7}, {"name": "en*"}, {"driver": "x"}, {}]
)
def test_a_nic_that_is_not_identified_is_named_once(match: dict[str, object]) -> None:
    made = plan(v2(ethernets={"e0": {"match": match, "dhcp4": True}}), NICS)
    assert [f.severity.word for f in made.findings] == ["error"]
    function = plan(v2(ethernets={"e0": eth(A, dhcp4=True), "vf": {"link": "e0"}}), NICS)
    assert [f.code for f in function.findings if f.severity.word != "note"] == ["type"]
    old = plan(v1(p("e0", "nonsense", ONE)), NICS)
    assert [f.code for f in old.findings if f.severity.word != "note"] == ["mac"]


@pytest.mark.parametrize("network", ["{config: disabled}", "{version: 1, config: disabled}"])
def test_a_disabled_configuration_is_named(network: str) -> None:
    for text in (f"network: {network}", network):
        with pytest.raises(Unreadable, match="is disabled"):
            plan(text, NICS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            v2(wifis={"w0": {"access-points": {"x": {"password": "hush"}}, "dhcp4": True}}),
            "w0 (access-points (x (password)), dhcp4)",
        ),
        (
            v2(openvswitch={"protocols": ["a"], "ssl": {"ca-cert": "/x"}}),
            "protocols, ssl (ca-cert)",
        ),
        (
            v2(vrfs={"v": {"table": 7, "routes": [{"to": "default"}, {"via": "10.0.0.1"}]}}),
            "v (routes (to, via), table)",
        ),
        (
            v2(ethernets={"e0": eth(A, auth={"key-management": "802.1x", "password": "hush"})}),
            "auth (key-management, password)",
        ),
        (
            v1({"type": "bridge", "name": "br0", "params": {"bridge_stp": "off"}}),
            "br0: params (bridge_stp)",
        ),
        (v1({"type": "infiniband", "name": "ib0", "mtu": 2044}), "ib0: mtu"),
        (v2(ethernets={"lo": {"addresses": ["10.9.0.1/32"], "mtu": 9}}), "lo: addresses, mtu"),
    ],
)
def test_every_key_of_what_is_refused_as_a_whole_is_named(text: str, names: str) -> None:
    messages = [f.message for f in plan(text, NICS).findings]
    assert [m for m in messages if names in m], messages
    assert "hush" not in " ".join(messages)
