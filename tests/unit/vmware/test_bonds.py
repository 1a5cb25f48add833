# SPDX-License-Identifier: Apache-2.0
"""Bonds, which become NIC teams."""

from __future__ import annotations

import pytest

from tests.unit.vmware.configs import (
    NET,
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
    switch,
    v1,
    v2,
    vmk,
)
from webapp.vmware.fixes import apply_fix
from webapp.vmware.plan import plan

# name -> (text, the exact commands, or the code of an error)
CASES: dict[str, tuple[str, list[str] | str]] = {
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
}


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str) -> None:
    check(*CASES[name])


def test_what_was_asked_stands_beside_what_is_got() -> None:
    made = plan(CASES["active-backup by the bond's MAC"][0], NICS)
    rows = {row[0]: row[1:] for row in made.asked}
    assert rows["e0"] == ("NIC", "an uplink of vSwitch0")
    assert rows["bond0"][0] == "bond; active-backup of e0, e1; 10.0.0.5/24"
    assert rows["bond0"][1] == (
        "vSwitch0; uplinks vmnic1, vmnic0; teaming explicit; vmk0 10.0.0.5/24"
    )
    assert made.management == "10.0.0.5 on vmk0 via vmnic1"


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("spelling", ["bond-mode", "bond_mode", "mode", "netplan"])
def test_a_mode_is_known_by_its_number_in_every_spelling(number: int, spelling: str) -> None:
    if spelling == "netplan":
        team = {"interfaces": ["e0", "e1"], "parameters": {"mode": number}, "dhcp4": True}
        text = v2(ethernets={"e0": eth(A), "e1": eth(B)}, bonds={"bond0": team})
    else:
        team = {"type": "bond", "name": "bond0", "bond_interfaces": ["e0", "e1"]}
        text = v1(*TWO, {**team, "params": {spelling: number}, "subnets": [ONE]})
    made = plan(text, NICS)
    policy = {0: "portid", 1: "explicit", 4: "iphash"}.get(number)
    assert made.vswitches[0].policy == policy if policy else not made.is_promise
    for finding in made.findings:
        for fix in finding.fixes:
            fixed = plan(apply_fix(text, fix), NICS)
            assert fixed.is_promise, fixed.findings
            if fix.op == "mode":
                assert len([f for f in fixed.findings if f.code == "bond-mode"]) == 0
    if number in (2, 3, 5, 6):
        names = {2: "balance-xor", 3: "broadcast", 5: "balance-tlb", 6: "balance-alb"}
        assert names[number] in made.findings[-1].message


def test_netplan_takes_balance_rr_where_no_mode_is_given() -> None:
    text = v2(
        ethernets={"e0": eth(A), "e1": eth(B)},
        bonds={"bond0": {"interfaces": ["e0", "e1"], "dhcp4": True}},
    )
    assert plan(text, NICS).vswitches[0].policy == "portid"
    assert "bond-mode" in found(text, "note")
