# SPDX-License-Identifier: Apache-2.0
"""Anchors, aliases and merge keys are written out, within bounds (rule: esxi-yaml-aliases)."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.unit.vmware.configs import NICS, A, B
from webapp.vmware.fixes import apply_fix
from webapp.vmware.plan import plan
from webapp.vmware.reading import Unreadable, read

SHARED = f"""
network:
  version: 2
  ethernets:
    e0: &nic
      match: {{macaddress: "{A}"}}
      addresses: [10.0.0.5/24]
      mtu: 9000
      nameservers: &dns {{addresses: [10.0.0.2]}}
    e1:
      <<: *nic
      match: {{macaddress: "{B}"}}
      addresses: [10.1.0.5/24]
"""
TEAMS = f"""
network:
  version: 2
  ethernets:
    e0: {{match: {{macaddress: "{A}"}}}}
    e1: {{match: {{macaddress: "{B}"}}}}
  bonds:
    b0: {{interfaces: [e0], parameters: &team {{mode: balance-alb, min-links: 1}}, dhcp4: true}}
    b1: {{interfaces: [e1], parameters: *team}}
"""
VERSION_1 = f"""
x-defaults: &defaults {{type: physical, mtu: 9000}}
network:
  version: 1
  config:
    - <<: [{{name: e0}}, *defaults]
      mac_address: "{A}"
      subnets: &subnets [{{type: dhcp4}}]
    - {{type: physical, name: e1, mac_address: "{B}", subnets: *subnets}}
"""


@pytest.mark.parametrize("text", [SHARED, TEAMS.replace("balance-alb", "802.3ad"), VERSION_1])
def test_a_plan_of_aliases_is_the_plan_of_what_they_stand_for(text: str) -> None:
    made = plan(text, NICS)
    written_out = json.dumps(yaml.safe_load(text))
    assert made.is_promise
    assert made.commands == plan(written_out, NICS).commands


def test_of_several_merged_maps_the_first_wins() -> None:
    """As YAML 1.1 says; versions of PyYAML disagree."""
    merged = read("{<<: [{a: 1}, {a: 2, b: 3}], c: 4}")
    assert {name: value.text for name, value in merged.entries.items()} == dict(a="1", b="3", c="4")


def test_a_finding_in_a_merged_map_names_the_device_that_uses_it() -> None:
    made = plan(SHARED.replace("mtu: 9000", "mtu: 7"), NICS)
    paths = [f.place.path for f in made.findings if f.code == "mtu"]
    assert paths == ["network.ethernets.e0.mtu", "network.ethernets.e1.mtu"]


@pytest.mark.parametrize("name", ["b0", "b1"])
def test_a_fix_of_one_device_leaves_the_other_that_shares_its_settings(name: str) -> None:
    before = plan(TEAMS, NICS)
    fix = next(
        x for f in before.findings for x in f.fixes if (x.name, x.value) == (name, "802.3ad")
    )
    after = yaml.safe_load(apply_fix(TEAMS, fix))["network"]["bonds"]
    modes = {bond: keys["parameters"]["mode"] for bond, keys in after.items()}
    assert modes == {"b0": "balance-alb", "b1": "balance-alb", name: "802.3ad"}


BOMB = "".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
    ]
)
MERGED_BOMB = "".join(
    [
        "a0: &a0 {k: [x, x, x, x, x, x, x, x, x, x]}\n",
        *(f"a{n}: &a{n} {{p: *a{n - 1}, q: {{<<: *a{n - 1}}}}}\n" for n in range(1, 20)),
    ]
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BOMB, "too deep or too long"),
        (MERGED_BOMB, "too deep or too long"),
        ("network: &a {version: 2, ethernets: *a}", "too deep or too long"),
        ("network: &a {version: 2, <<: *a}", "too deep or too long"),
        ("network: &a [*a]", "too deep or too long"),
        ("network: {version: 2, ethernets: *nothing}", "isn't YAML"),
        ("network: {version: 2, <<: 7}", "Only maps can be merged"),
        ("network: {version: 2, <<: [[a]]}", "Only maps can be merged"),
        ("network: {<<: {version: 2}, <<: {version: 1}}", "given twice"),
        ("network: {<<: {version: 2}, version: 1, version: 2}", "given twice"),
    ],
)
def test_what_expands_without_end_or_means_nothing_is_refused(text: str, what: str) -> None:
    with pytest.raises(Unreadable, match=what):
        read(text)
