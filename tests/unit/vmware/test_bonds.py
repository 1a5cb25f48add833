# SPDX-License-Identifier: Apache-2.0
"""Bonds, which become NIC teams."""

from __future__ import annotations

import pytest

from tests.unit.vmware.configs import NET, NICS, ONE, TWO, B, C, bond, check, p, switch, v1, vmk
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
