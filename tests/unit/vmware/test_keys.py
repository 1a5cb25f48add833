# SPDX-License-Identifier: Apache-2.0
"""Every key of both formats is used or named, as the documentation says (rule: esxi-key-tables)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.vmware.configs import NICS, ONE, A, B, bond, eth, p, s, v1, v2, vlan
from webapp.vmware.keys import USED, Key, Table
from webapp.vmware.model import Finding
from webapp.vmware.netplan_keys import NETPLAN
from webapp.vmware.plan import plan
from webapp.vmware.version1_keys import VERSION1

PAGE = Path(__file__).parents[3] / "docs" / "rules" / "network-keys.md"
SAMPLES: dict[str, Any] = {
    "text": "odd",
    "number": 7,
    "switch": "maybe",
    "map": {"a": 1},
    "devices": {"x0": {}},
    "list": ["odd"],
}
DEVICE = {"addresses": ["10.0.0.5/24"], "gateway4": "10.0.0.1"}
ROUTE = {"to": "10.9.0.0/16", "via": "10.0.0.2"}


def netplan(kind: str, key: str, value: Any) -> str:
    """A sound configuration with one more key in a map of this kind."""
    more = {key: value}
    network: dict[str, Any] = {"ethernets": {"e0": eth(A, **DEVICE), "e1": eth(B)}}
    e0 = network["ethernets"]["e0"]
    if kind == "network":
        network |= more
    elif kind == "ethernets, bonds or vlans":
        network["ethernets"] |= more
    elif kind in ("a device", "ethernets"):
        e0 |= more
    elif kind == "match":
        e0["match"] |= more
    elif kind in ("bonds", "parameters"):
        team = {"interfaces": ["e1"], "parameters": {"mode": "balance-rr"}}
        (team if kind == "bonds" else team["parameters"]).update(more)  # type: ignore[attr-defined]
        network["bonds"] = {"bond0": team}
    elif kind == "vlans":
        network["vlans"] = {"v7": {"id": 7, "link": "e0", **more}}
    elif kind == "addresses":
        e0["addresses"] = [{"10.0.0.5/24": more}]
    elif kind == "routes":
        e0["routes"] = [ROUTE | more]
    else:
        names = {"overrides of DHCP": "dhcp4-overrides", "overrides of RA": "ra-overrides"}
        e0[names.get(kind, kind)] = more
    return v2(**network)


def version1(kind: str, key: str, value: Any) -> str:
    """The same for version 1."""
    more = {key: value}
    route = {"destination": "10.9.0.0/16", "gateway": "10.0.0.2"}
    subnet: dict[str, Any] = dict(ONE)
    entries = [
        {"type": "nameserver", "address": "10.0.0.2"} | (more if kind == "nameserver" else {}),
        {"type": "route", **route, **(more if kind == "route" else {})},
        vlan("v7", "e0", 7) | (more if kind == "vlan" else {}),
        p("e1", B),
        bond("balance-rr", members=("e1",), params=more if kind == "params" else {})
        | (more if kind == "bond" else {}),
    ]
    subnet |= more if kind == "subnets" else {}
    subnet |= {"routes": [route | more]} if kind == "routes" else {}
    return v1(p("e0", A, subnet) | (more if kind == "physical" else {}), *entries)


def keys(table: Table) -> list[tuple[str, Key]]:
    """Every key with the kind of map it stands in; what all devices share is one kind."""
    shared = table.get("a device", {})
    return [
        (kind, key)
        for kind, named in table.items()
        for key in named.values()
        if kind not in ("ethernets", "bonds", "vlans") or key.name not in shared
    ]


def about(findings: list[Finding], name: str) -> list[Finding]:
    """The findings that name a key."""
    word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    return [f for f in findings if word.search(f.message) or f.place.path.endswith(f".{name}")]


def test_the_documentation_lists_the_same_keys_with_the_same_severities() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+) \| ([^|]+) \|$", PAGE.read_text(), re.M)
    code = []
    for _, key in [*keys(NETPLAN), *keys(VERSION1)]:
        unless = " or ".join(f"`{value}`" for value in key.unless)
        word = key.severity.word if key.severity else "used"
        severity = f"{word}, except {unless}" if unless else word
        code.append((key.name, key.esxi, severity))
    assert [(name, esxi, severity) for name, _, esxi, severity in rows] == code
    assert all(len(meaning) > 1 for _, meaning, _, _ in rows)


@pytest.mark.parametrize(
    ("made", "kind", "key"),
    [
        pytest.param(made, kind, key, id=f"{made.__name__}-{kind}-{key.name}")
        for made, table in ((netplan, NETPLAN), (version1, VERSION1))
        for kind, key in keys(table)
        if key.severity is not USED
    ],
)
def test_a_key_that_is_not_used_is_named_with_its_severity(made: Any, kind: str, key: Key) -> None:
    found = plan(made(kind, key.name, SAMPLES[key.takes]), NICS).findings
    assert key.severity in {f.severity for f in about(found, key.name)}, found
    for value in key.unless:
        wanted = {"key-management": value} if key.name == "auth" else value
        found = plan(made(kind, key.name, wanted), NICS).findings
        assert about(found, key.name) == []


@pytest.mark.parametrize(
    ("made", "kind", "key"),
    [
        pytest.param(made, kind, key, id=f"{made.__name__}-{kind}-{key.name}")
        for made, table in ((netplan, NETPLAN), (version1, VERSION1))
        for kind, key in keys(table)
        if key.severity is USED and key.name not in ("version", "config")
    ],
)
def test_a_key_of_the_wrong_type_is_an_error_at_its_place(made: Any, kind: str, key: Key) -> None:
    wrong = {"map": "text", "devices": ["x"], "list": {"a": 1}}.get(key.takes, {"a": 1})
    made_plan = plan(made(kind, key.name, wrong), NICS)
    assert not made_plan.is_promise
    assert any(f.severity == "error" and "it takes" in f.message for f in made_plan.findings)


@pytest.mark.parametrize("made", [netplan, version1])
@pytest.mark.parametrize(
    ("wrong", "right"),
    [("mtuu", "mtu"), ("mt", "mtu"), ("MTU", "mtu"), ("accept_ra", "accept-ra")],
)
def test_a_misspelt_key_is_named_with_the_right_one(made: Any, wrong: str, right: str) -> None:
    kind = "ethernets" if made is netplan else "physical"
    found = about(plan(made(kind, wrong, 1500), NICS).findings, wrong)
    assert [f.message.partition("Did you mean ")[2] for f in found] == [f"{right}?"]


@pytest.mark.parametrize(
    ("text", "name", "severity"),
    [
        (netplan("ethernets", "gatway4", "10.0.0.1"), "gatway4", "error"),
        (netplan("ethernets", "adresses", ["10.0.0.6/24"]), "adresses", "error"),
        (netplan("ethernets", "autth", {}), "autth", "error"),
        (netplan("ethernets", "dhcp", True), "dhcp", "error"),
        (netplan("ethernets", "gateway", "10.0.0.1"), "gateway", "error"),
        (netplan("ethernets", "optionnal", True), "optionnal", "note"),
        (netplan("network", "ethernet", {"e9": {"dhcp4": True}}), "ethernet", "error"),
        (netplan("network", "gateway4", "10.0.0.1"), "gateway4", "error"),
        (netplan("network", "hosts", {"e9": {"dhcp4": True}}), "hosts", "error"),
        (netplan("routes", "viaa", "10.0.0.3"), "viaa", "error"),
        (netplan("routes", "comment", "to the lab"), "comment", "note"),
        (netplan("addresses", "lable", "x"), "lable", "note"),
        (version1("physical", "adress", "10.0.0.9/24"), "adress", "error"),
        (version1("physical", "address", "10.0.0.9/24"), "address", "error"),
        (version1("subnets", "gatway", "10.0.0.1"), "gatway", "error"),
        (version1("route", "destinaton", "10.8.0.0/16"), "destinaton", "error"),
        (version1("params", "bond-moed", "802.3ad"), "bond-moed", "error"),
        (version1("bond", "bond-interfaces", ["e0"]), "bond-interfaces", "error"),
        (version1("physical", "x-rack", "7"), "x-rack", "note"),
    ],
)
def test_an_unknown_key_is_named(text: str, name: str, severity: str) -> None:
    assert [f.severity.word for f in about(plan(text, NICS).findings, name)] == [severity]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (netplan("ethernets", "mtu", None), "mtu"),
        (netplan("ethernets", "routes", None), "routes"),
        (netplan("ethernets", "auth", None), "auth"),
        (netplan("network", "wifis", {}), "wifis"),
        (netplan("ethernets", "routing-policy", []), "routing-policy"),
        (version1("physical", "mtu", None), "mtu"),
        (version1("subnets", "gateway", None), "gateway"),
        (version1("route", "metric", None), "metric"),
    ],
)
def test_an_empty_value_is_noted_as_absent(text: str, name: str) -> None:
    made = plan(text, NICS)
    assert made.is_promise
    assert [f.message for f in about(made.findings, name) if f.code == "empty"] == [
        f"{name} is empty."
    ]


def test_what_is_beside_the_network_section_is_named() -> None:
    inside = v1(p("e0", A, s("10.0.0.5/24")))
    curtin = f'{{"network": {inside}, "storage": {{}}, "stages": []}}'
    (note,) = about(plan(curtin, NICS).findings, "storage")
    assert (note.severity.word, "stages" in note.message) == ("note", True)
    lost = f'{{"network": {v2()[9:].strip() and "{version: 2}"}, "ethernets": {{"e0": {{}}}}}}'
    assert "error" in {f.severity.word for f in about(plan(lost, NICS).findings, "ethernets")}


def test_the_same_key_in_two_spellings_is_an_error() -> None:
    text = version1("params", "bond_mode", "802.3ad")
    assert [f.code for f in plan(text, NICS).findings if f.severity == "error"] == ["already"]


@pytest.mark.parametrize(
    ("key", "value", "message", "path"),
    [
        ("addresses", [None], "An address is empty; it takes text.", "addresses[0]"),
        ("addresses", [["10.0.0.5/24"]], "An address is a list; it takes text.", "addresses[0]"),
        ("addresses", [{}], "An address is an empty map; it takes text.", "addresses[0]"),
        ("routes", [None], "A route is empty; it takes a map.", "routes[0]"),
        ("routes", ["default"], "A route is 'default'; it takes a map.", "routes[0]"),
        (
            "nameservers",
            {"addresses": [{"a": 1}]},
            "A DNS server is a map; it takes a single value.",
            "addresses[0]",
        ),
        (
            "nameservers",
            {"search": [None]},
            "A domain is empty; it takes a single value.",
            "search[0]",
        ),
    ],
)
def test_an_item_of_the_wrong_type_is_named_by_type_and_place(
    key: str, value: Any, message: str, path: str
) -> None:
    found = plan(netplan("ethernets", key, value), NICS).findings
    (error,) = [f for f in found if f.severity == "error" and f.code == "wrong-type"]
    assert (error.message, error.place.path.endswith(path)) == (message, True)
