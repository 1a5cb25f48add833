# SPDX-License-Identifier: Apache-2.0
"""Configurations as people wrote them, each with its right plan."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.unit.vmware.configs import eth, run, v1, v2
from webapp.vmware.model import Finding
from webapp.vmware.plan import plan

MAC, MAC1 = "52:54:00:00:00:00", "52:54:00:00:00:01"
NICS = {"vmnic0": MAC, "vmnic1": MAC1}
FOUR, SIX = "192.0.2.15/24", "2001:db8:5::15/64"
GATE, SIX_GATE = "192.0.2.1", "2001:db8:5::1"
FAR = "198.51.100.0/24"
STATIC = {"type": "static", "address": FOUR, "gateway": GATE}


def port(**keys: Any) -> str:
    """Netplan for one NIC; an underscore stands for a hyphen."""
    named = {key.replace("_", "-"): value for key, value in keys.items()}
    return v2(ethernets={"port1": eth(MAC, **named)})


def one(**route: Any) -> str:
    """The same with an address, a gateway and one route."""
    named = {key.replace("_", "-"): value for key, value in route.items()}
    return port(addresses=[FOUR], gateway4=GATE, routes=[{"to": FAR, **named}])


def entry(*subnets: Any, **more: Any) -> dict[str, Any]:
    """A NIC of v1."""
    made = {"type": "physical", "name": "port1", "mac_address": MAC}
    return made | more | {"subnets": list(subnets)}


def team(**params: Any) -> str:
    """A bond of v1."""
    nics = [
        {"type": "physical", "name": name, "mac_address": mac}
        for name, mac in (("port1", MAC), ("port2", MAC1))
    ]
    made = {"type": "bond", "name": "team", "bond_interfaces": ["port1", "port2"]}
    return v1(*nics, made | {"params": params, "subnets": [STATIC]})


class Right(NamedTuple):
    """The right plan: nothing is an error but what ``error`` says.

    lines: commands, in this order. never: in no command. found: of each finding its least
    severity, the end of its path and what its message or what happens names.
    """

    lines: tuple[str, ...] = ()
    never: str = ""
    found: tuple[tuple[str, str, str], ...] = ()


def default(gateway: str) -> str:
    return f"ip route ipv{6 if ':' in gateway else 4} add --gateway={gateway} --network=default"


def by(gateway: str, network: str = FAR) -> str:
    return f"ip route ipv4 add -g {gateway} -n {network}"


def six_gate(vmk: str, gateway: str = SIX_GATE) -> str:
    return f"ip interface ipv6 set -i {vmk} -g {gateway}"


def static(vmk: str, address: str, mask: str = "255.255.255.0") -> str:
    return f"ip interface ipv4 set -i {vmk} -t static -I {address} -N {mask}"


SLAAC = "ip interface ipv6 set -i vmk1 -e true -r true"
DHCP6 = "ip interface ipv6 set -i vmk1 -e true -d true"
TEAM = "vswitch standard policy failover set -v vSwitch0 -a vmnic0,vmnic1 -l"
DUAL = {"addresses": [FOUR, SIX]}
BOTH = [{"to": "default", "via": GATE}, {"to": "default", "via": SIX_GATE}]
HALVES = ["192.0.2.15/25", "192.0.2.140/25"]
BARE_ADDRESS = port(addresses=["ADDRESS"]).replace("- ADDRESS", "- 192.0.2.15/24:")

PLANS: dict[str, tuple[str, Right]] = {
    "dual-defaults": (
        port(**DUAL, routes=BOTH),
        Right((default(GATE), six_gate("vmk1"), default(SIX_GATE))),
    ),
    "dual-six-first": (
        port(addresses=[SIX, FOUR], gateway4=GATE, gateway6=SIX_GATE),
        Right((six_gate("vmk0"), static("vmk1", "192.0.2.15"), default(GATE))),
    ),
    "dual-wrong-four": (
        port(addresses=[SIX, FOUR], gateway4="198.51.100.1"),
        Right(found=(("error", "gateway4", "198.51.100.1"),)),
    ),
    "dual-wrong-six": (
        port(**DUAL, gateway4=GATE, gateway6="2001:db8:6::1"),
        Right(found=(("error", "gateway6", "2001:db8:6::1"),)),
    ),
    "second-net-route": (
        port(addresses=HALVES, gateway4=GATE, routes=[{"to": FAR, "via": "192.0.2.129"}]),
        Right((static("vmk1", "192.0.2.140", "255.255.255.128"), by("192.0.2.129"))),
    ),
    "second-net-gateway": (
        port(addresses=[FOUR, "198.51.100.15/24"], gateway4="198.51.100.1"),
        Right((static("vmk1", "198.51.100.15"), default("198.51.100.1"))),
    ),
    "link-local-gateway": (
        port(addresses=[FOUR], dhcp6=True, gateway4=GATE, gateway6="fe80::1"),
        Right((DHCP6, six_gate("vmk1", "fe80::1"))),
    ),
    "six-by-four": (
        port(**DUAL, routes=[{"to": "2001:db8:9::/48", "via": GATE}]),
        Right(found=(("error", "routes[0]", "family"),)),
    ),
    "no-such-family": (
        port(addresses=[FOUR], gateway4=GATE, gateway6=SIX_GATE),
        Right(
            found=(("error", "gateway6", f"no IPv6 address here to reach the gateway {SIX_GATE}"),)
        ),
    ),
    "v1-other-subnet": (
        v1(
            entry(
                {
                    "type": "static",
                    "address": HALVES[0],
                    "gateway": GATE,
                    "routes": [{"network": FAR, "gateway": "192.0.2.129"}],
                },
                {"type": "static", "address": HALVES[1]},
            )
        ),
        Right((static("vmk1", "192.0.2.140", "255.255.255.128"), by("192.0.2.129"))),
    ),
    "address-map": (
        port(
            addresses=[{FOUR: {"label": "port1:lab", "lifetime": 0}}, "192.0.2.16/24"],
            gateway4=GATE,
        ),
        Right(
            (static("vmk0", "192.0.2.15"), static("vmk1", "192.0.2.16")),
            found=(("note", "addresses[0]", "label and lifetime"),),
        ),
    ),
    "address-map-empty": (
        BARE_ADDRESS.replace("    match", f"    gateway4: {GATE}\n      match"),
        Right((static("vmk0", "192.0.2.15"), default(GATE))),
    ),
    "address-map-bare": (
        port(addresses=[{"192.0.2.15": {"label": "port1:lab"}}]),
        Right(found=(("error", "addresses[0]", "192.0.2.15"),)),
    ),
    "wired-auth": (
        port(addresses=[FOUR], auth={"key-management": "802.1x", "method": "tls"}),
        Right(found=(("error", "port1.auth", "switch port stays closed"),)),
    ),
    "wired-auth-none": (
        port(addresses=[FOUR], gateway4=GATE, auth={"key-management": "none"}),
        Right((default(GATE),)),
    ),
    "table-other": (
        one(via="192.0.2.9", table=77),
        Right((default(GATE),), FAR, (("warning", "routes[0]", "table 77"),)),
    ),
    "table-other-default": (
        port(
            addresses=[FOUR],
            routes=[
                {"to": "default", "via": "192.0.2.9", "table": 77},
                {"to": "default", "via": GATE},
            ],
        ),
        Right((default(GATE),), "192.0.2.9", (("warning", "routes[0]", "table 77"),)),
    ),
    "table-main": (one(via="192.0.2.9", table=254), Right((by("192.0.2.9"),))),
    "route-scope": (one(scope="link"), Right(found=(("error", "routes[0]", "scope link"),))),
    "route-blackhole": (
        one(type="blackhole"),
        Right((default(GATE),), FAR, (("warning", "routes[0]", "blackhole"),)),
    ),
    "route-prohibit-via": (
        one(via="192.0.2.9", type="prohibit"),
        Right((default(GATE),), FAR, (("warning", "routes[0]", "prohibit"),)),
    ),
    "route-source": (
        one(**{"via": "192.0.2.9", "from": "192.0.2.15", "mtu": 1400}),
        Right(
            (by("192.0.2.9"),), "", (("note", "routes[0]", "from"), ("note", "routes[0]", "mtu"))
        ),
    ),
    "route-on-link": (
        port(
            addresses=["192.0.2.15/32"],
            routes=[{"to": "default", "via": "198.51.100.1", "on-link": True}],
        ),
        Right(found=(("error", "routes[0]", "on-link"),)),
    ),
    "dhcp-overrides": (
        port(dhcp4=True, dhcp4_overrides={"use-routes": False, "use-dns": False}),
        Right(
            ("ip interface ipv4 set -i vmk0 -t dhcp",),
            found=(
                ("warning", "dhcp4-overrides", "has no effect"),
                ("warning", "dhcp4-overrides.use-routes", "takes the routes that DHCP gives"),
                ("note", "dhcp4-overrides.use-dns", "use-dns"),
            ),
        ),
    ),
    "offloads": (
        port(
            addresses=[FOUR],
            gateway4=GATE,
            receive_checksum_offload=False,
            tcp_segmentation_offload=False,
        ),
        Right(
            found=(
                ("note", "receive-checksum-offload", "is ignored on ESXi"),
                ("note", "tcp-segmentation-offload", "is ignored on ESXi"),
            )
        ),
    ),
    "stays-down": (
        port(addresses=[FOUR], gateway4=GATE, activation_mode="manual"),
        Right(found=(("warning", "activation-mode", "always brought up"),)),
    ),
    "misspelt": (
        port(addresses=[FOUR], gatway4=GATE),
        Right(found=(("error", "gatway4", "Did you mean gateway4?"),)),
    ),
    "v1-bond-4": (team(**{"bond-mode": 4}), Right((f"{TEAM} iphash",))),
    "v1-bond-1": (team(bond_mode=1), Right((f"{TEAM} explicit",))),
    "v1-bond-0": (team(mode="0"), Right((f"{TEAM} portid",))),
    "v1-bond-2": (team(**{"bond-mode": 2}), Right(found=(("error", "config[2]", "balance-xor"),))),
    "v1-route": (
        v1(entry(STATIC), {"type": "route", "destination": FAR, "gateway": "192.0.2.254"}),
        Right((default(GATE), by("192.0.2.254"))),
    ),
    "v1-route-mask": (
        v1(
            entry(STATIC),
            {
                "type": "route",
                "destination": "198.51.100.0",
                "netmask": "255.255.255.0",
                "gateway": "192.0.2.254",
                "metric": 3,
            },
        ),
        Right((by("192.0.2.254"),), found=(("warning", "config[1]", "metric"),)),
    ),
    "v1-route-lost": (
        v1(entry(STATIC), {"type": "route", "destination": FAR, "gateway": "198.51.100.254"}),
        Right(found=(("error", "config[1]", "198.51.100.254 isn't in a network of the host"),)),
    ),
    "v1-slaac": (v1(entry(STATIC, {"type": "ipv6_slaac"})), Right((SLAAC,))),
    "v1-stateless": (
        v1(entry({"type": "dhcp4"}, {"type": "ipv6_dhcpv6-stateless"})),
        Right((SLAAC,), found=(("warning", "subnets[1]", "DNS servers"),)),
    ),
    "v1-stateful": (
        v1(entry({"type": "dhcp4"}, {"type": "ipv6_dhcpv6-stateful"})),
        Right((DHCP6,)),
    ),
    "v1-six-mask": (
        v1(
            entry(
                {
                    "type": "static6",
                    "address": "2001:db8:5::15",
                    "netmask": "ffff:ffff:ffff:ffff::",
                    "gateway": SIX_GATE,
                }
            )
        ),
        Right((f"ip interface ipv6 address add -i vmk0 -I {SIX}", default(SIX_GATE))),
    ),
    "v1-route-prefix": (
        v1(
            entry(
                STATIC
                | {
                    "routes": [{"network": "198.51.100.0", "prefix": 24, "gateway": "192.0.2.9"}],
                }
            )
        ),
        Right((by("192.0.2.9"),)),
    ),
    "v1-control": (
        v1(entry(STATIC | {"control": "manual"})),
        Right((default(GATE),), found=(("warning", "subnets[0]", "control"),)),
    ),
    "no entries": (v1(), Right(found=(("error", "", "no one can reach the host"),))),
    "policy": (
        one(via="192.0.2.9", table=101).replace(
            "    match", "    routing-policy: [{from: 192.0.2.15, table: 101}]\n      match"
        ),
        Right(
            found=(("error", "routing-policy", "routing-policy"), ("warning", "routes[0]", "101"))
        ),
    ),
    "overrides": (
        port(
            dhcp4=True,
            dhcp4_overrides={"use-dns": False, "use-routes": False, "route-metric": 200},
            accept_ra=False,
            wakeonlan=True,
        ),
        Right(
            found=(
                ("note", "use-dns", "use-dns"),
                ("warning", "use-routes", "use-routes"),
                ("note", "route-metric", "route-metric"),
                ("note", "accept-ra", "accept-ra"),
                ("note", "wakeonlan", "wakeonlan"),
            )
        ),
    ),
    "subnets": (
        port(
            addresses=[FOUR, "198.51.100.15/24"],
            gateway4=GATE,
            routes=[{"to": "203.0.113.0/24", "via": "198.51.100.1"}],
        ),
        Right((default(GATE), by("198.51.100.1", "203.0.113.0/24"))),
    ),
}


def fits(finding: Finding, wanted: tuple[str, str, str]) -> bool:
    severity, path, words = wanted
    text = f"{finding.message} {finding.happens}"
    return finding.severity.word == severity and finding.place.path.endswith(path) and words in text


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("nics", [NICS, None], ids=["known", "counted"])
def test_a_reported_plan(name: str, nics: dict[str, str] | None) -> None:
    text, right = PLANS[name]
    made = plan(text, nics)
    for wanted in right.found:
        assert any(fits(finding, wanted) for finding in made.findings), made.findings
    allowed = sum(severity == "error" for severity, _, _ in right.found)
    assert sum(finding.severity == "error" for finding in made.findings) == allowed
    assert "Nothing is" not in str(made.findings)
    lines = [line.removeprefix("esxcli network ") for line in made.commands]
    assert not right.never or right.never not in " ".join(lines)
    assert [line for line in lines if line in right.lines] == list(right.lines)
    run(made, NICS)
