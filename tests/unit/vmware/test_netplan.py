# SPDX-License-Identifier: Apache-2.0
"""Netplan, translated by our own rules."""

from __future__ import annotations

import pytest

from tests.unit.vmware.configs import (
    BASE,
    DHCP4,
    DHCP6,
    NET,
    A,
    B,
    check,
    eth,
    gw6,
    ip4,
    ip6,
    switch,
    v2,
    vmk,
)

# name -> (text, the exact commands, or the code of an error)
CASES: dict[str, tuple[str, list[str] | str]] = {
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
    "v2 bridge": (
        v2(
            ethernets={"e0": eth(A, dhcp4=True)},
            bridges={"br0": {"interfaces": ["e0"]}},
        ),
        "bridge",
    ),
    "v2 tunnel": (v2(tunnels={"t": {"mode": "gre"}}), "type"),
    "v2 match by driver": (
        v2(ethernets={"e0": {"match": {"driver": "ixgbe"}, "dhcp4": True}}),
        "match",
    ),
    "v2 other bond mode": (
        v2(
            ethernets={"e0": eth(A), "e1": eth(B)},
            bonds={
                "bond0": {
                    "interfaces": ["e0", "e1"],
                    "dhcp4": True,
                    "parameters": {"mode": "balance-xor"},
                }
            },
        ),
        "bond-mode",
    ),
    "v2 routing policy": (
        v2(ethernets={"e0": eth(A, dhcp4=True, **{"routing-policy": [{}]})}),
        "type",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str) -> None:
    check(*CASES[name])
