# SPDX-License-Identifier: Apache-2.0
"""Network configurations and what an ESXi host gets."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.cli.main import cli
from webapp.vmware.plan import HostPlan, plan
from webapp.vmware.reading import Unreadable

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
NICS = {"vmnic1": A, "vmnic10": B}
STATIC = {"type": "static", "address": "10.0.0.5/24", "gateway": "10.0.0.1"}


def nic(name: str, mac: str, **more: object) -> dict[str, object]:
    return {"type": "physical", "id": name, "name": name, "mac_address": mac, **more}


def bond(mode: str, **more: object) -> list[dict[str, object]]:
    made = {"type": "bond", "name": "bond0", "bond_interfaces": ["eth0", "eth1"]}
    made |= {"params": {"bond-mode": mode}, "mac_address": A, "subnets": [STATIC], **more}
    return [nic("eth0", A), nic("eth1", B), made]


def v1(*entries: object) -> HostPlan:
    return plan(json.dumps({"network": {"version": 1, "config": entries}}), NICS)


def lines(made: HostPlan) -> list[str]:
    return [line.removeprefix("esxcli network ") for line in made.commands]


def errors(made: HostPlan) -> set[str]:
    assert made.commands == []
    return {finding.code for finding in made.findings if finding.severity == "error"}


def test_a_nic_with_an_address_gets_a_switch_of_its_own() -> None:
    assert lines(v1(nic("eth0", A.upper(), mtu=9000, subnets=[STATIC]))) == [
        "vswitch standard add -v vSwitch0",
        "vswitch standard set -v vSwitch0 -m 9000",
        "vswitch standard uplink add -v vSwitch0 -u vmnic1",
        "vswitch standard portgroup add -p eth0 -v vSwitch0",
        f"ip interface add -i vmk0 -p eth0 -m 9000 -M {A}",
        "ip interface ipv4 set -i vmk0 -t static -I 10.0.0.5 -N 255.255.255.0",
        "ip route ipv4 add --gateway=10.0.0.1 --network=default",
    ]


@pytest.mark.parametrize(
    ("mode", "policy"),
    [("balance-rr", "portid"), ("active-backup", "explicit"), ("802.3ad", "iphash")],
)
def test_three_bond_modes_are_teams(mode: str, policy: str) -> None:
    made = v1(*bond(mode))
    expected = f"policy failover set -v vSwitch0 -a vmnic1,vmnic10 -l {policy}"
    assert f"vswitch standard {expected}" in lines(made)


def test_the_nic_with_the_bonds_mac_address_is_active() -> None:
    assert v1(*bond("active-backup", mac_address=B)).vswitches[0].uplinks == ["vmnic10", "vmnic1"]


@pytest.mark.parametrize(
    ("entries", "is_noted"),
    [
        ([nic("eth0", A, subnets=[STATIC]), nic("eth1", B, subnets=[{"type": "dhcp4"}])], True),
        ([nic("eth0", A, subnets=[STATIC]), nic("eth1", B)], False),
        ([nic("eth0", A, subnets=[STATIC])], False),  # the host has a second NIC
        (bond("balance-rr", subnets=[STATIC]), True),
        ([nic("eth0", A, subnets=[{"type": "manual"}]), nic("eth1", B, subnets=[STATIC])], False),
    ],
)
def test_a_host_without_an_interface_for_virtual_machines_is_noted(
    entries: list[object], is_noted: bool
) -> None:
    made = v1(*entries)
    assert ("virtual-machines" in {f.code for f in made.findings}) is is_noted
    assert made.is_promise


@pytest.mark.parametrize(
    "mode", ["balance-xor", "broadcast", "balance-tlb", "balance-alb", "2", "7", ""]
)
def test_other_bond_modes_are_errors(mode: str) -> None:
    assert errors(v1(*bond(mode))) == {"bond-mode"}


def test_lacp_settings_are_ignored_with_a_warning() -> None:
    params = {"bond-mode": "802.3ad", "bond-lacp-rate": "fast"}
    made = v1(*bond("802.3ad", params=params))
    assert [f.code for f in made.findings if f.severity.word == "warning"] == ["lacp"]
    assert made.is_promise


def test_dhcp_is_both_families_and_a_missing_mtu_is_not_written() -> None:
    made = v1(nic("eth0", A, subnets=[{"type": "dhcp"}]))
    assert lines(made)[-2:] == [
        "ip interface ipv4 set -i vmk0 -t dhcp",
        "ip interface ipv6 set -i vmk0 -e true -d true",
    ]
    assert "None" not in " ".join(lines(made))


def test_an_ipv6_address_keeps_its_prefix() -> None:
    made = v1(nic("eth0", A, subnets=[{"type": "static", "address": "2001:db8::5/64"}]))
    assert "ip interface ipv6 address add -i vmk0 -I 2001:db8::5/64" in lines(made)


def test_aliases_have_their_own_portgroup_and_no_second_mac_address() -> None:
    made = v1(nic("eth0", A, subnets=[STATIC, {"type": "static", "address": "10.9.0.5/24"}]))
    assert [(vmk.portgroup, vmk.mac) for vmk in made.vmks] == [("eth0", A), ("eth0:1", "")]


def test_a_vlan_before_its_parent_shares_the_parents_switch() -> None:
    vlan = {"type": "vlan", "name": "eth0.7", "vlan_link": "eth0", "vlan_id": 7}
    vlan["subnets"] = [{"type": "dhcp4"}]
    made = v1(vlan, nic("eth0", A, subnets=[STATIC]))
    assert len(made.vswitches) == 1
    assert "vswitch standard portgroup set -p eth0.7 -v 7" in lines(made)


def test_a_manual_subnet_of_a_bond_makes_no_interface() -> None:
    made = v1(*bond("balance-rr", subnets=[{"type": "manual"}]))
    assert (len(made.vswitches), made.vmks) == (1, [])
    assert errors(made) == {"no-address"}


@pytest.mark.parametrize(
    ("code", "entries"),
    [
        ("bridge", [{"type": "bridge", "name": "br0"}]),
        ("type", [{"type": "infiniband", "name": "ib0"}]),
        ("unmapped", [nic("eth0", "52:54:00:00:00:0c", subnets=[STATIC])]),
        ("mac", [nic("eth0", "no", subnets=[STATIC])]),
        ("address", [nic("eth0", A, subnets=[{"type": "static", "address": "None/24"}])]),
        ("address", [nic("eth0", A, subnets=[{"type": "static"}])]),
        ("subnet-type", [nic("eth0", A, subnets=[{"type": "odd"}])]),
        ("mtu", [nic("eth0", A, mtu=600, subnets=[STATIC])]),
        ("gateway", [nic("eth0", A, subnets=[{**STATIC, "gateway": "10.1.0.1"}])]),
        ("route", [nic("eth0", A, subnets=[{**STATIC, "routes": [{"network": "10.1.0.0/16"}]}])]),
        (
            "already",
            [nic("eth0", A, subnets=[STATIC]), nic("eth1", A, subnets=[{"type": "dhcp4"}])],
        ),
        ("already", [nic("eth0", A, subnets=[STATIC]), nic("eth1", B, subnets=[STATIC])]),
        ("parent", [{"type": "vlan", "name": "v", "vlan_link": "no", "vlan_id": 7}]),
        (
            "vlan",
            [nic("eth0", A), {"type": "vlan", "name": "v", "vlan_link": "eth0", "vlan_id": 0}],
        ),
    ],
)
def test_what_a_host_would_break_on_is_an_error_with_its_place(
    code: str, entries: list[object]
) -> None:
    made = v1(*entries)
    assert code in errors(made)
    assert all(finding.place.line for finding in made.findings)


def test_netplan_is_translated() -> None:
    text = f"""
network:
  version: 2
  ethernets:
    eth0: {{match: {{macaddress: "{A}"}}, addresses: [10.0.0.5/24], mtu: 1500,
      routes: [{{to: default, via: 10.0.0.1}}],
      nameservers: {{addresses: [10.0.0.2], search: [lab]}}}}
"""
    assert lines(plan(text, NICS))[-3:] == [
        "ip route ipv4 add --gateway=10.0.0.1 --network=default",
        "ip dns server add -s 10.0.0.2",
        "ip dns search add -d lab",
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        "a: [",
        "version: 3",
        "- 1",
        "a: 1\na: 2",
        "a: &x 1\nb: *x",
        "[" * 90,
        "x" * 300_000,
    ],
)
def test_what_is_not_a_configuration_is_refused_with_the_next_step(text: str | bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        plan(text)
    assert caught.value.next_step


SUBNETS = st.lists(
    st.sampled_from([STATIC, {"type": "dhcp"}, {"type": "manual"}, {"type": "static"}]), max_size=3
)
ENTRIES = st.one_of(
    st.builds(nic, st.sampled_from(["eth0", "eth1"]), st.sampled_from([A, B]), subnets=SUBNETS),
    st.sampled_from(bond("802.3ad")),
    st.fixed_dictionaries(
        {"type": st.just("vlan"), "name": st.just("v"), "vlan_id": st.integers()}
    ),
    st.recursive(
        st.none() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    ),
)


# How long it takes to make up inputs depends on what else the machine does.
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ENTRIES, max_size=5))
def test_no_input_crashes_it_and_a_promise_holds(entries: list[object]) -> None:
    try:
        made = v1(*entries)
    except Unreadable:  # YAML takes keys of up to 1,024 characters
        return
    uplinks = [name for switch in made.vswitches for name in switch.uplinks]
    groups = [vmk.portgroup for vmk in made.vmks]
    if made.is_promise:
        assert len(uplinks) == len(set(uplinks))
        assert len(groups) == len(set(groups))
        assert all(vmk.address or vmk.kinds for vmk in made.vmks)
        assert all(shlex.split(line)[:2] == ["esxcli", "network"] for line in made.commands)


def test_the_command_prints_json_and_sets_its_exit_code() -> None:
    good = json.dumps({"version": 1, "config": [nic("eth0", A, subnets=[STATIC])]})
    bad = json.dumps({"version": 1, "config": [{"type": "bridge"}]})
    run = CliRunner().invoke
    done = run(cli, ["esxi", "plan", "-", "--nic", f"vmnic0={A}", "--format", "json"], input=good)
    assert done.exit_code == 0
    assert set(json.loads(done.output)) == {
        "commands",
        "findings",
        "model",
        "asked",
        "management",
    }
    assert run(cli, ["esxi", "plan", "-"], input=bad).exit_code == 1
    assert run(cli, ["esxi", "plan", "-"], input="[").exit_code == 2
    assert run(cli, ["esxi", "plan", "-", "--nic", "x"], input=good).exit_code == 2
