# SPDX-License-Identifier: Apache-2.0
"""Any input: no crash, and a host takes every promise."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.vmware.configs import NICS, ONE, A, B, C, bond, p, run, s, v1, vlan
from webapp.vmware.fixes import apply_fix
from webapp.vmware.picture import draw
from webapp.vmware.plan import plan

NAMES = st.sampled_from(["e0", "e1", "e2", "bond0", "v7", "x" * 90, "a b"])
MACS = st.sampled_from([A, B, C, A.upper(), "nonsense", ""])
SUBNET = st.sampled_from(
    [
        ONE,
        s("10.0.0.6/24"),
        s("2001:db8::5/64", "2001:db8::1"),
        {"type": "dhcp"},
        {"type": "manual"},
        {"type": "dhcp4"},
        s("None/24"),
        s("10.1.0.5/16", routes=[{"network": "10.9.0.0/16", "gateway": "10.1.0.9"}]),
    ]
)
ENTRY = st.one_of(
    st.builds(
        lambda n, m, x, mtu: p(n, m, *x, **({"mtu": mtu} if mtu else {})),
        NAMES,
        MACS,
        st.lists(SUBNET, max_size=3),
        st.sampled_from([0, 1500, 9000, 10]),
    ),
    st.builds(
        lambda m, x, members: bond(m, *x, members=tuple(members)),
        st.sampled_from(["802.3ad", "active-backup", "balance-rr", "balance-alb"]),
        st.lists(SUBNET, max_size=2),
        st.lists(NAMES, max_size=3),
    ),
    st.builds(
        lambda n, parent, i, x: vlan(n, parent, i, *x),
        NAMES,
        NAMES,
        st.sampled_from([1, 7, 4094, 4095, "x"]),
        st.lists(SUBNET, max_size=2),
    ),
    st.sampled_from(
        [{"type": "nameserver", "address": "10.0.0.2"}, {"type": "bridge", "name": "br0"}]
    ),
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(entries=st.lists(ENTRY, max_size=6))
def test_a_host_refuses_nothing_of_any_promise(entries: list[Any]) -> None:
    made = plan(v1(*entries), NICS)
    ElementTree.fromstring(draw(made))
    for finding in made.findings:
        for fix in finding.fixes:
            plan(apply_fix(v1(*entries), fix), NICS)
    if made.is_promise:
        run(made)
