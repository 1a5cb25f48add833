# SPDX-License-Identifier: Apache-2.0
"""Steps that a finding offers: they repair what they are about, and change nothing else."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.unit.vmware import test_bonds, test_netplan, test_refusals
from tests.unit.vmware.configs import NICS, ONE, A, bond, eth, p, run, s, v1, v2, vlan
from webapp.errors import Problem
from webapp.vmware.fixes import apply_fix
from webapp.vmware.model import Fix
from webapp.vmware.plan import plan
from webapp.vmware.reading import Unreadable

CASES = test_bonds.CASES | test_refusals.CASES | test_netplan.CASES


@pytest.mark.parametrize(
    "name", ["balance-alb", "no mode", "v2 other bond mode", "bridge", "v2 bridge"]
)
def test_every_step_repairs_its_error(name: str) -> None:
    text = CASES[name][0]
    (error,) = [f for f in plan(text, NICS).findings if f.severity == "error"]
    assert error.fixes
    for fix in error.fixes:
        made = plan(apply_fix(text, fix), NICS)
        assert made.is_promise, made.findings
        run(made)


def test_another_nic_is_made_active_in_both_formats() -> None:
    for name in ("active-backup", "v2 bond with primary"):
        text = CASES[name][0]
        made = plan(text, NICS)
        note = next(f for f in made.findings if f.code == "active")
        (fix,) = note.fixes
        before = made.vswitches[0].uplinks
        after = plan(apply_fix(text, fix), NICS).vswitches[0].uplinks
        assert after == before[::-1]


def test_only_nics_of_the_host_can_be_made_active() -> None:
    text = v1(p("e0", A), p("e1", ""), bond("active-backup", ONE))
    assert not [fix for found in plan(text, NICS).findings for fix in found.fixes]


def test_the_addresses_of_a_removed_bridge_go_to_the_device_below() -> None:
    text = v1(
        p("e0", A),
        {"type": "bridge", "name": "br0", "bridge_interfaces": ["e0"], "subnets": [ONE]},
        vlan("v7", "br0", 7, s("10.7.0.5/24")),
    )
    made = plan(apply_fix(text, Fix("", "drop-bridge", "br0")), NICS)
    assert [str(v.address) for v in made.vmks] == ["10.0.0.5/24", "10.7.0.5/24"]
    run(made)
    text = v2(
        ethernets={"e0": eth(A)},
        bridges={"br0": {"interfaces": ["e0"], "addresses": ["10.0.0.5/24"]}},
    )
    assert plan(apply_fix(text, Fix("", "drop-bridge", "br0")), NICS).vmks


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


def test_a_step_changes_no_other_character() -> None:
    made = apply_fix(BY_HAND, Fix("", "mode", "bond0", "802.3ad"))
    assert made == BY_HAND.replace("balance-alb  #", "802.3ad      #")
    assert apply_fix(made, Fix("", "mode", "bond0", "balance-alb")) == BY_HAND


def test_lists_keep_their_indentation_and_values_their_spelling() -> None:
    text = (
        "ethernets:\n  e0:\n    dhcp4: yes\n    match: {macaddress: 52:54:00:12:34:56}\n"
        "bonds:\n  b0:\n    interfaces:\n    - e0\n    dhcp4: on # DHCP\n    mtu: 0x5dc\n"
        "    parameters:\n      mode: broadcast\n"
    )
    made = apply_fix(text, Fix("", "mode", "b0", "active-backup"))
    assert made == text.replace("broadcast", "active-backup")


def test_json_stays_json() -> None:
    text = json.dumps(yaml.safe_load(BY_HAND.replace("52:54:00:12:34:56", "'52:54:00:12:34:56'")))
    made = apply_fix(text, Fix("", "mode", "bond0", "802.3ad"))
    assert json.loads(made)["network"]["config"][2]["params"] == {"bond-mode": "802.3ad"}


def test_a_step_that_does_not_apply_is_refused() -> None:
    for fix in (
        Fix("", "mode", "bond9", "802.3ad"),
        Fix("", "nonsense", "x"),
        Fix("", "active", "bond0", "e9"),
    ):
        with pytest.raises(Problem):
            apply_fix(CASES["active-backup"][0], fix)
    for odd in ("2001-99-99", "!!int x", "!!bool x", "!!binary zzz"):
        with pytest.raises(Problem, match="quotes"):
            apply_fix(f"{BY_HAND}odd: {odd}\n", Fix("", "mode", "bond0", "802.3ad"))
    with pytest.raises(Unreadable):
        apply_fix("a: &x [*x]", Fix("", "mode", "b", "c"))


@pytest.mark.parametrize("members", [{"e0": 1}, "e0", [["e0"]], [{"e0": 1}], None, 7, []])
def test_a_bridge_with_odd_members_is_removed(members: object) -> None:
    for text in (
        v1(p("e0", A), {"type": "bridge", "name": "br0", "bridge_interfaces": members}),
        v2(
            ethernets={"e0": eth(A)},
            bridges={"br0": {"interfaces": members}},
            vlans=None,
        ),
    ):
        assert "br0" not in apply_fix(text, Fix("", "drop-bridge", "br0"))


def test_vlans_of_a_removed_bridge_go_to_its_member() -> None:
    text = v2(
        ethernets={"e0": eth(A)},
        bridges={"br0": {"interfaces": ["e0"], "addresses": ["10.0.0.5/24"]}},
        vlans={"v7": {"id": 7, "link": "br0", "addresses": ["10.7.0.5/24"]}},
    )
    made = plan(apply_fix(text, Fix("", "drop-bridge", "br0")), NICS)
    assert [str(v.address) for v in made.vmks] == ["10.0.0.5/24", "10.7.0.5/24"]
    run(made)
