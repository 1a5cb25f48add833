# SPDX-License-Identifier: Apache-2.0
"""Fuzz network configurations: any text is a Problem or a plan."""

from __future__ import annotations

import gc
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.guards import SECONDS, guarded
from webapp.errors import Problem
from webapp.vmware.fixes import apply_fix
from webapp.vmware.netplan_keys import NETPLAN
from webapp.vmware.picture import draw
from webapp.vmware.plan import plan
from webapp.vmware.reading import MAX_BYTES
from webapp.vmware.version1_keys import VERSION1

FUZZ = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
KEYS = sorted({key for table in (NETPLAN, VERSION1) for keys in table.values() for key in keys})
WORDS = st.sampled_from(
    ["10.0.0.5/24", "10.0.0.1", "2001:db8::5/64", "fe80::1", "default", "802.3ad", "4", "static",
     "physical", "bond", "vlan", "route", "e0", "52:54:00:00:00:0a", "true", "None/24", "9" * 400,
     "1e999", "0x7fffffffffffffff", "-1", "\x00", "\u202e", "%", "=", "~", ""]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    WORDS | st.text(max_size=20) | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=8,
)
DEVICES = st.dictionaries(
    st.sampled_from(["e0", "e1", "b0", "v7", "lo", "renderer", ""]),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8) | VALUES,
    max_size=4,
)
NETPLANS = st.fixed_dictionaries(
    {"version": st.just(2), "ethernets": DEVICES | VALUES},
    optional={
        "bonds": DEVICES | VALUES, "vlans": DEVICES | VALUES, "bridges": DEVICES | VALUES,
        "tunnels": VALUES,
    },
)  # fmt: skip
VERSION1S = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "config": st.lists(
            st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8) | VALUES, max_size=5
        ),
    }
)


def answer(text: str | bytes) -> str:
    """The plan or the problem, as JSON; and every step that a finding offers is tried."""
    try:
        made = plan(text, {"vmnic0": "52:54:00:00:00:0a", "vmnic1": "52:54:00:00:00:0b"})
    except Problem as problem:
        return json.dumps(problem.as_dict())
    draw(made)
    for finding in made.findings[:20]:
        assert finding.message.endswith((".", "?")), finding
        for fix in finding.fixes[:3]:
            with suppress(Problem):
                apply_fix(text if isinstance(text, str) else text.decode(), fix)
    return json.dumps(made.as_dict())


@contextmanager
def in_time() -> Iterator[None]:
    """At most 2 s of processor time; measuring memory, too, takes several times as long."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    gc.freeze()  # what thousands of tests left behind isn't looked through again in this time
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        gc.unfreeze()


def check(text: str | bytes) -> None:
    guarded(lambda: answer(text))


@FUZZ
@given(text=st.text(max_size=300) | st.binary(max_size=300))
@example("version: 2\nethernets: {e0: {addresses: [!!binary x]}}")
@example("version: 2\nethernets: {? [a] : 1}")
@example("version: 1\nconfig: !!python/object:os.system [x]")
def test_any_text(text: str | bytes) -> None:
    check(text)


@FUZZ
@given(network=NETPLANS | VERSION1S, is_wrapped=st.booleans(), is_json=st.booleans())
def test_any_configuration(network: Any, is_wrapped: bool, is_json: bool) -> None:
    document = {"network": network} if is_wrapped else network
    check(json.dumps(document) if is_json else yaml.safe_dump(document))


@FUZZ
@given(
    text=st.sampled_from(
        [
            "network:\n  version: 2\n  ethernets:\n    e0: {addresses: [10.0.0.5/24]}\n",
            "version: 1\nconfig:\n- {type: physical, name: e0, subnets: [{type: dhcp4}]}\n",
        ]
    ),
    cuts=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 4), st.text(max_size=3))),
)
def test_any_change_of_a_configuration(text: str, cuts: list[tuple[int, int, str]]) -> None:
    for start, length, more in cuts:
        text = text[:start] + more + text[start + length :]
    check(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 100_000,
        "a:\n" + "".join(" " * n + "a:\n" for n in range(1, 400)),
        "version: 2\nethernets:\n" + "".join(f"  e{n}: {{}}\n" for n in range(4_500)),
        "version: 2\nethernets:\n" + "".join(f"  e{n}: {{adress: 1}}\n" for n in range(3_000)),
        "version: 2\nethernets: {e0: {addresses: ["
        + ", ".join(f"10.{n >> 8}.{n & 255}.5/30" for n in range(4_500))
        + "]}}",
        "version: 2\nvlans:\n"
        + "".join(f"  v{n}: {{id: 7, link: v{n + 1}, dhcp4: true}}\n" for n in range(3_000)),
        "version: 2\nethernets: {e0: {addresses: [10.0.0.5/24], routes: ["
        + ", ".join("{to: 10.9.0.0/16, via: 10.0.0.2}" for n in range(3_000))
        + "]}}",
        "version: 2\nbonds: {b: {interfaces: [" + ", ".join(["e0"] * 15_000) + "]}}",
        "version: " + "9" * 200_000,
        "version: 2\nethernets: {e0: {mtu: " + "9" * 200_000 + "}}",
        "version: 2\nethernets: {" + "x" * 200_000 + ": {}}",
        "version: 2\n" + "#" * 250_000,
        'version: 2\nx: "' + "\\u0041" * 40_000 + '"',
        "x" * (MAX_BYTES + 1),
    ],
    ids=range(17),
)
def test_a_hostile_text_takes_no_time(text: str) -> None:
    with in_time():
        answer(text)
