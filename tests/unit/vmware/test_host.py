# SPDX-License-Identifier: Apache-2.0
"""The host double: it refuses what a host refuses."""

from __future__ import annotations

import pytest

from tests.unit.vmware.configs import SWITCH, switch, vmk
from tests.unit.vmware.host import Host, Refused


def test_a_host_that_keeps_state_refuses_what_hosts_refuse() -> None:
    """The double itself: it can fail."""
    host = Host(["vmnic0"])
    good = [
        f"esxcli network {line}"
        for line in [*switch("vSwitch0", "vmnic0"), *vmk(0, "a", "vSwitch0")]
    ]
    for line in good:
        host.run(line)
    for line in (
        good[0],
        good[1],
        f"esxcli network {SWITCH} uplink add -v vSwitch0 -u vmnic7",
        f"esxcli network {SWITCH} set -v vSwitch0 -m None",
        f"esxcli network {SWITCH} portgroup add -p a -v vSwitch0",
        "esxcli network ip interface ipv6 address add -i vmk0 -I 2001:db8::5",
        "esxcli network ip route ipv4 add --gateway=10.0.0.1 --network=default",
        "esxcli network nonsense",
    ):
        with pytest.raises(Refused):
            host.run(line)
