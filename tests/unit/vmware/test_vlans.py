# SPDX-License-Identifier: Apache-2.0
"""VLANs, which become portgroups."""

from __future__ import annotations

import pytest

from tests.unit.vmware.configs import (
    BASE,
    NET,
    NICS,
    ONE,
    TWO,
    A,
    bond,
    check,
    gw4,
    ip4,
    p,
    run,
    s,
    switch,
    v1,
    vlan,
    vmk,
)
from webapp.vmware.plan import plan

# name -> (text, the exact commands, or the code of an error)
CASES: dict[str, tuple[str, list[str] | str]] = {
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
}


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str) -> None:
    check(*CASES[name])


@pytest.mark.parametrize("parent", ["e0", "bond0"])
@pytest.mark.parametrize("mtu", [1280, 1400, 1500, 9000])
def test_a_vlan_without_an_mtu_fits_its_vswitch(parent: str, mtu: int) -> None:
    """A VMkernel interface has 1500 where nothing is given, which a smaller vSwitch refuses."""
    below = p("e0", A, ONE, mtu=mtu) if parent == "e0" else p("e0", A)
    team = [bond("balance-rr", ONE, members=("e0",), mtu=mtu)] if parent == "bond0" else []
    made = plan(v1(below, *team, vlan("v7", parent, 7, s("10.7.0.5/24"))), NICS)
    run(made)
    assert made.vmks[-1].mtu == (mtu if mtu < 1500 else None)
    notes = [f.severity.word for f in made.findings if f.code == "mtu" and "v7" in f.message]
    assert notes == (["note"] if mtu < 1500 else [])
