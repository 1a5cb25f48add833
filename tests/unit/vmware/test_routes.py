# SPDX-License-Identifier: Apache-2.0
"""Which interface a route leaves by, and which routes a host can't have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.vmware.configs import NICS, ONE, A, B, eth, found, p, run, s, v1, v2, vlan
from webapp.vmware.plan import HostPlan, plan

FAR = "10.9.0.0/16"


def e0(*routes: dict[str, Any], **more: Any) -> str:
    """Netplan: e0 in 10.0.0.0/24 and 2001:db8::/64, e1 in 10.1.0.0/24."""
    first = {"addresses": ["10.0.0.5/24", "2001:db8::5/64"], "routes": list(routes), **more}
    return v2(ethernets={"e0": eth(A, **first), "e1": eth(B, addresses=["10.1.0.5/24"])})


def routes(made: HostPlan) -> dict[str, list[list[str]]]:
    """The routes of each VMkernel interface that has some."""
    vmks = made.as_dict()["model"]["vmks"]
    return {vmk["name"]: vmk["routes"] for vmk in vmks if vmk["routes"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # By the network that holds the gateway, of the same family, wherever it is written.
        (e0({"to": FAR, "via": "10.0.0.2"}), {"vmk0": [[FAR, "10.0.0.2"]]}),
        (
            e0({"to": "2001:db8:9::/48", "via": "2001:db8::2"}),
            {"vmk1": [["2001:db8:9::/48", "2001:db8::2"]]},
        ),
        (e0({"to": FAR, "via": "10.1.0.2"}), {"vmk2": [[FAR, "10.1.0.2"]]}),
        (e0({"to": "10.9.1.7", "via": "10.0.0.2"}), {"vmk0": [["10.9.1.7/32", "10.0.0.2"]]}),
        (e0({"to": FAR, "via": "10.0.0.2/24"}), {"vmk0": [[FAR, "10.0.0.2"]]}),
        (e0({"to": "::/0", "via": "2001:db8::1"}), {"vmk1": [["default", "2001:db8::1"]]}),
        (e0({"to": "::/0", "via": "fe80::1"}), {"vmk1": [["default", "fe80::1"]]}),
        # The smallest network that holds it.
        (
            v1(
                p("e0", A, s("10.0.0.5/16")),
                p("e1", B, s("10.0.7.5/24")),
                {"type": "route", "destination": FAR, "gateway": "10.0.7.1"},
            ),
            {"vmk1": [[FAR, "10.0.7.1"]]},
        ),
        (
            v1(
                p("e0", A, ONE),
                vlan("v7", "e0", 7, s("10.7.0.5/24")),
                {"type": "route", "network": "10.9.0.0", "netmask": "16", "gateway": "10.7.0.1"},
            ),
            {"vmk0": [["default", "10.0.0.1"]], "vmk1": [[FAR, "10.7.0.1"]]},
        ),
        (
            v1(
                p("e0", A, s("2001:db8::5", netmask="ffff:ffff:ffff:ffff::")),
                {
                    "type": "route",
                    "destination": "2001:db8:9::",
                    "netmask": "ffff:ffff:ffff::",
                    "gateway": "2001:db8::1",
                },
            ),
            {"vmk0": [["2001:db8:9::/48", "2001:db8::1"]]},
        ),
        # A link whose address comes later takes what no known network holds.
        (
            v2(ethernets={"e0": eth(A, dhcp4=True, routes=[{"to": FAR, "via": "10.3.0.1"}])}),
            {"vmk0": [[FAR, "10.3.0.1"]]},
        ),
        (
            v1(p("e0", A, {"type": "ipv6_slaac", "gateway": "fe80::1"})),
            {"vmk0": [["default", "fe80::1"]]},
        ),
        # Of several, the one with the lowest metric, as on Linux.
        (
            e0(
                {"to": "default", "via": "10.0.0.1", "metric": 200},
                {"to": "default", "via": "10.0.0.3", "metric": 100},
            ),
            {"vmk0": [["default", "10.0.0.3"]]},
        ),
        (
            e0({"to": "default", "via": "10.0.0.1", "metric": 9}, gateway4="10.0.0.2"),
            {"vmk0": [["default", "10.0.0.2"]]},
        ),
        # What is left out.
        (e0({"to": FAR, "via": "10.0.0.2", "table": 100}), {}),
        (e0({"to": "default", "via": "10.0.0.2", "table": "mgmt"}), {}),
        (e0({"to": FAR, "via": "10.0.0.2", "table": 255}), {}),
        (e0({"to": FAR, "type": "unreachable"}), {}),
        (e0({"to": FAR, "type": "throw"}), {}),
        (e0({"to": "10.0.0.9", "type": "local"}), {}),
        (e0({"to": "10.0.0.0/24", "via": "10.0.0.1"}), {}),
        (e0({"to": FAR, "via": "10.0.0.2", "table": "main"}), {"vmk0": [[FAR, "10.0.0.2"]]}),
        (e0({"to": FAR, "via": "10.0.0.2", "type": "unicast"}), {"vmk0": [[FAR, "10.0.0.2"]]}),
        (e0({"to": FAR, "via": "10.0.0.2", "scope": "global"}), {"vmk0": [[FAR, "10.0.0.2"]]}),
        (e0({"to": FAR, "via": "10.0.0.2", "on-link": True}), {"vmk0": [[FAR, "10.0.0.2"]]}),
    ],
)
def test_a_route_leaves_by_the_network_of_its_gateway(
    text: str, expected: dict[str, list[list[str]]]
) -> None:
    made = plan(text, NICS)
    assert made.is_promise, made.findings
    assert routes(made) == expected
    run(made)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (e0({"to": FAR, "via": "10.3.0.1"}), "gateway", "10.3.0.1 isn't in a network of the host"),
        (e0({"to": FAR, "via": "10.3.0.1", "on-link": True}), "gateway", "on-link"),
        (e0({"to": FAR, "via": "2001:db8::1"}), "route", "of the other family"),
        (e0({"to": "::/0", "via": "10.0.0.1"}), "route", "of the other family"),
        (e0(gateway4="2001:db8::1"), "gateway", "isn't an IPv4 address"),
        (e0(gateway6="10.0.0.1"), "gateway", "isn't an IPv6 address"),
        (e0({"to": FAR, "via": "10.0.0.5"}), "gateway", "the host's own address"),
        (e0({"to": FAR, "via": "10.0.0.255"}), "gateway", "no host's address"),
        (e0({"to": FAR, "via": "0.0.0.0"}), "route", "isn't the address of a gateway"),
        (e0({"to": FAR, "via": "169.254.1.1"}), "gateway", "169.254.1.1"),
        (e0({"to": FAR}), "route", "There's no gateway"),
        (e0({"to": FAR, "via": None}), "route", "There's no gateway"),
        (e0({"via": "10.0.0.1"}), "route", "no destination"),
        (e0({"to": FAR, "via": {"a": 1}}), "wrong-type", "via is a map; it takes a single value"),
        (e0({"to": "10.9.0.0/40", "via": "10.0.0.2"}), "route", "isn't a network"),
        (e0({"to": "10.0.0.9", "scope": "link"}), "route", "scope link"),
        (e0({"to": "10.0.0.9", "scope": "host"}), "route", "scope host"),
        (e0(["10.9.0.0/16"]), "wrong-type", "A route is a list"),  # type: ignore[arg-type]
        (
            v2(ethernets={"e0": eth(A, gateway4="10.0.0.1"), "e1": eth(B, dhcp6=True)}),
            "gateway",
            "no IPv4 address here",
        ),
        (
            v1(
                p("e0", A, ONE), {"type": "route", "destination": "10.9.0.0", "gateway": "10.0.0.2"}
            ),
            "route",
            "no prefix length",
        ),
        (
            v1(p("e0", A, ONE), {"type": "route", "destination": "::/0", "gateway": "fe80::1"}),
            "gateway",
            "no IPv6 address here",
        ),
    ],
)
def test_a_route_that_a_host_cannot_have_is_an_error(text: str, code: str, words: str) -> None:
    made = plan(text, NICS)
    assert made.commands == []
    errors = [f for f in made.findings if f.severity == "error"]
    assert [f.code for f in errors][:1] == [code], made.findings
    assert words in errors[0].message


@pytest.mark.parametrize(
    ("text", "code", "nics"),
    [
        (e0({"to": FAR, "via": "10.1.0.2"}), "route-elsewhere", NICS),
        (e0({"to": "10.0.0.0/24", "via": "10.0.0.1"}), "second-route", NICS),
        (v2(ethernets={"e0": eth(A, dhcp4=True, gateway4="10.3.0.1")}), "gateway-unchecked", NICS),
        (v1(p("e0", A, ONE), p("e1", B, {"type": "dhcp4"})), "second-route", NICS),
        (
            v1(p("e0", A, {"type": "dhcp4"}), p("e1", B, {"type": "dhcp4"})),
            "second-route",
            NICS,
        ),
        (v2(ethernets={"e0": {"dhcp4": True}}), "nics", NICS),
        (e0(nameservers={"addresses": ["127.0.0.53"]}), "dns", NICS),
        (
            v2(
                ethernets={"e0": eth(A), "e1": {"mtu": 9000}},
                bonds={"b": {"interfaces": ["e0", "e1"], "dhcp4": True}},
            ),
            "mtu",
            NICS,
        ),
    ],
)
def test_what_works_but_not_as_asked_is_a_warning(
    text: str, code: str, nics: dict[str, str]
) -> None:
    assert plan(text, nics).is_promise
    assert code in found(text, "warning", nics)


def test_interfaces_are_named_by_their_id_even_when_they_are_renamed() -> None:
    made = plan(
        v2(
            ethernets={
                "left": eth(A, **{"set-name": "e0"}),
                "right": eth(B, **{"set-name": "e1"}),
            },
            bonds={"b": {"interfaces": ["left", "right"]}},
            vlans={"v7": {"id": 7, "link": "b", "addresses": ["10.7.0.5/24"]}},
        ),
        NICS,
    )
    assert made.is_promise, made.findings
    assert made.vswitches[0].uplinks == ["vmnic0", "vmnic1"]
    run(made)


def test_nics_named_as_esxi_names_them_are_those() -> None:
    text = v2(ethernets={"vmnic1": {"dhcp4": True}, "vmnic0": {}})
    for nics in (NICS, None):
        assert plan(text, nics).vswitches[0].uplinks == ["vmnic1"]
        assert found(text, "warning", nics) == set()


@pytest.mark.parametrize(
    "address",
    ["10.0.0.0/24", "10.0.0.255/24", "0.0.0.0/8", "127.0.0.1/8", "224.0.0.5/24", "10.0.0.5/0",
     "::1/128", "::ffff:10.0.0.5/120", "ff02::1/64", "fe80::5%eth0/64",
     "2001:db8::5", "2001:db8::5/129"],
)  # fmt: skip
def test_an_address_that_no_host_can_have_is_an_error(address: str) -> None:
    assert found(v1(p("e0", A, s(address)))) >= {"address"}
    assert found(v2(ethernets={"e0": eth(A, addresses=[address])})) >= {"address"}


@pytest.mark.parametrize("to", ["224.0.0.0/4", "127.0.0.0/8", "ff00::/8", "fe80::/64", "::1/128"])
def test_a_route_to_where_nothing_is_forwarded_is_an_error(to: str) -> None:
    via = "10.0.0.1" if "." in to else "2001:db8::1"
    device = eth(A, addresses=["10.0.0.5/24", "2001:db8::5/64"], routes=[{"to": to, "via": via}])
    found = plan(v2(ethernets={"e0": device}), NICS).findings
    assert [f.message for f in found if f.severity == "error"] == [
        f"{to!r} isn't a network that a route can lead to."
    ]


@pytest.mark.parametrize("to", ["10.0.0.5", "10.0.0.5/32", "2001:db8::5/128"])
def test_a_route_to_the_host_itself_is_left_out(to: str) -> None:
    via = "10.0.0.1" if "." in to else "2001:db8::1"
    device = eth(A, addresses=["10.0.0.5/24", "2001:db8::5/64"], routes=[{"to": to, "via": via}])
    made = plan(v2(ethernets={"e0": device}), NICS)
    assert [f.severity.word for f in made.findings if "own address" in f.message] == ["warning"]
    assert not [line for line in made.commands if " route " in line]
