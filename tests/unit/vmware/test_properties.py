# SPDX-License-Identifier: Apache-2.0
"""What holds for every configuration: gateways, order, and that no key is lost."""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.vmware.configs import NICS, A, B, run
from webapp.vmware.keys import USED, Table
from webapp.vmware.netplan_keys import NETPLAN
from webapp.vmware.plan import HostPlan, plan
from webapp.vmware.version1_keys import VERSION1

MANY = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes here
)
ADDRESSES = ["10.0.0.5/24", "10.1.0.5/24", "10.0.0.130/25", "2001:db8::5/64", "2001:db8:1::5/64"]
GATEWAYS = ["10.0.0.1", "10.1.0.1", "10.0.0.129", "10.3.0.1", "2001:db8::1", "fe80::1"]
NETWORKS = ["default", "10.9.0.0/16", "10.8.0.0/16", "2001:db8:9::/48", "10.0.0.0/24"]
# Keys that change nothing where they say what is so anyway, and the NIC where it is the only one.
NEUTRAL = {"version", "dhcp4", "dhcp6", "match", "macaddress", "mac_address"}


def some(table: Table, kind: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A map with some of the keys given, and some that ESXi has no use for."""
    plain = {"text": "odd", "number": 7, "switch": True, "list": ["odd"], "map": {"odd": 1}}
    others = {
        key.name: st.just(plain[key.takes])
        for key in table[kind].values()
        if key.severity is not USED and key.takes in plain and key.name not in values
    }
    few = st.lists(st.sampled_from(sorted(others) or [""]), max_size=2, unique=True)
    unneeded = few.map(lambda names: {n: plain[table[kind][n].takes] for n in names if n})
    known = st.fixed_dictionaries({}, optional=values)
    return st.builds(lambda a, b: {**a, **b}, known, unneeded)


# Findings about a whole route or map of overrides.
LEFT_OUT = {"table", "route-type", "second-route", "ignored"}
GATEWAY = st.sampled_from(GATEWAYS)
ROUTE = some(NETPLAN, "routes", to=st.sampled_from(NETWORKS), via=GATEWAY)
DEVICE = {
    "addresses": st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True),
    "dhcp4": st.booleans(),
    "dhcp6": st.booleans(),
    "gateway4": GATEWAY,
    "gateway6": GATEWAY,
    "routes": st.lists(ROUTE, max_size=2),
    "mtu": st.sampled_from([1280, 1500, 9000]),
    "nameservers": st.just({"addresses": ["10.0.0.2"], "search": ["lab"]}),
    "gatway4": GATEWAY,
}


def nic(mac: str) -> st.SearchStrategy[Any]:
    made = some(NETPLAN, "ethernets", **DEVICE)
    return made.map(lambda keys: {"match": {"macaddress": mac}, **keys})


PARAMETERS = some(NETPLAN, "parameters", mode=st.sampled_from(["802.3ad", 1, "balance-alb"]))
NETPLANS = st.fixed_dictionaries(
    {"version": st.just(2), "ethernets": st.fixed_dictionaries({"e0": nic(A), "e1": nic(B)})},
    optional={
        "vlans": some(NETPLAN, "vlans", **DEVICE).map(
            lambda keys: {"v7": {"id": 7, "link": "e0", **keys}}
        ),
        "bonds": st.builds(
            lambda keys, parameters: {
                "b": {"interfaces": ["e1"], "parameters": parameters, **keys}
            },
            some(NETPLAN, "bonds", **DEVICE),
            PARAMETERS,
        ),
        "tunnels": st.just({"t": {"mode": "gre"}}),
        "renderer": st.just("networkd"),
    },
)

ROUTE1 = some(VERSION1, "routes", gateway=GATEWAY, destination=st.sampled_from(NETWORKS))
SUBNET = st.builds(
    lambda a, b: {**a, **b},
    st.sampled_from([{"type": "static", "address": address} for address in ADDRESSES])
    | st.sampled_from([{"type": "dhcp4"}, {"type": "dhcp6"}, {"type": "ipv6_slaac"}]),
    some(VERSION1, "subnets", gateway=GATEWAY, routes=st.lists(ROUTE1, max_size=2)),
)


def physical(name: str, mac: str) -> st.SearchStrategy[Any]:
    keys = some(VERSION1, "physical", subnets=st.lists(SUBNET, max_size=2), mtu=st.just(9000))
    return keys.map(lambda more: {"type": "physical", "name": name, "mac_address": mac, **more})


ENTRIES = st.tuples(
    physical("e0", A),
    physical("e1", B),
    ROUTE1.map(lambda route: {"type": "route", **route}),
    st.just({"type": "nameserver", "address": "10.0.0.2"}),
)
VERSION1S = ENTRIES.map(lambda entries: {"version": 1, "config": list(entries)})


def made_of(network: Any) -> HostPlan:
    return plan(json.dumps({"network": network}), NICS)


@MANY
@given(network=NETPLANS | VERSION1S)
def test_every_gateway_is_in_a_network_of_its_interface_and_behind_its_address(
    network: Any,
) -> None:
    """Read off the commands alone, then run on a host that keeps state."""
    made = made_of(network)
    networks: dict[str, list[Any]] = {}
    given_later: dict[str, set[int]] = {}
    for line in made.commands:
        words = shlex.split(line)
        options = dict(pairwise(words))
        vmk = options.get("-i", "")
        if "-I" in options:
            mask = f"/{options['-N']}" if "-N" in options else ""
            networks.setdefault(vmk, []).append(
                ipaddress.ip_interface(options["-I"] + mask).network
            )
        elif "-t" in options:
            given_later.setdefault(vmk, set()).add(4)
        elif "-d" in options or "-r" in options:
            given_later.setdefault(vmk, set()).add(6)
        text = options.get("-g") or next((w[10:] for w in words if w.startswith("--gateway=")), "")
        if not text:
            continue
        gateway = ipaddress.ip_address(text)
        carriers = [vmk] if vmk else [*networks, *given_later]
        assert any(
            any(gateway in network for network in networks.get(name, ()))
            or gateway.version in given_later.get(name, ())
            or (gateway.is_link_local and any(n.version == 6 for n in networks.get(name, ())))
            for name in carriers
        ), (line, made.commands)
    for each in made.vmks:
        if each.address is not None and made.is_promise:
            for route in each.routes:
                assert route.gateway in each.address.network or route.gateway.is_link_local
    run(made)


def places(value: Any, path: str = "") -> Iterator[tuple[list[Any], str]]:
    """Every key of a document: the way to it, and its path as findings write it."""

    def walk(inner: Any, steps: list[Any], path: str) -> Iterator[tuple[list[Any], str]]:
        items = inner.items() if isinstance(inner, dict) else enumerate(inner)
        for step, child in items:
            here = f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}".lstrip(".")
            if isinstance(step, str):
                yield [*steps, step], here
            if isinstance(child, dict | list):
                yield from walk(child, [*steps, step], here)

    yield from walk(value, [], path)


def answer(made: HostPlan) -> str:
    """Everything that a person sees, without the places of findings, which move."""
    told = made.as_dict()
    told["findings"] = sorted(
        (f.severity.word, f.code, f.message, f.happens) for f in made.findings
    )
    return json.dumps(told)


def is_named(made: HostPlan, name: str, path: str) -> bool:
    """Whether a finding is about this key, or about the whole that it is part of."""
    for finding in made.findings:
        whole = finding.place.path
        if path == whole or (path.startswith(whole) and name in finding.message):
            return True
        is_part = path.startswith((f"{whole}.", f"{whole}["))
        if is_part and (finding.severity == "error" or finding.code in LEFT_OUT):
            return True
    return False


def lost_keys(network: Any) -> list[str]:
    """The keys that no finding names and that change nothing when they are taken away."""
    document = {"network": network}
    made = made_of(network)
    before, lost = answer(made), []
    for steps, path in places(network, "network"):
        name = steps[-1]
        if name in NEUTRAL or is_named(made, name, path):
            continue
        less = deepcopy(document)
        inner: Any = less["network"]
        for step in steps[:-1]:
            inner = inner[step]
        if inner[name] in ([], {}):
            continue
        del inner[name]
        try:
            after = answer(made_of(less["network"]))
        except Exception:  # without it there's no configuration
            continue
        if after == before:
            lost.append(path)
    return lost


@settings(MANY, max_examples=60)
@given(network=NETPLANS | VERSION1S)
def test_every_key_is_used_or_named(network: Any) -> None:
    assert lost_keys(network) == []
