# SPDX-License-Identifier: Apache-2.0
"""One NIC and its addresses."""

from __future__ import annotations

import pytest

from tests.unit.vmware.configs import (
    BASE,
    DHCP4,
    DHCP6,
    NET,
    ONE,
    A,
    B,
    check,
    gw6,
    ip4,
    ip6,
    p,
    s,
    switch,
    v1,
    vmk,
)

# name -> (text, the exact commands, or the code of an error)
CASES: dict[str, tuple[str, list[str] | str]] = {
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
}


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str) -> None:
    check(*CASES[name])
