# SPDX-License-Identifier: Apache-2.0
"""Keys and facts that netplan and network configuration v1 have in common."""

from __future__ import annotations

from webapp.vmware.keys import Key
from webapp.vmware.model import WARNING

DRIVER = "The NIC's driver decides."
LINUX = "It's a setting of Linux network services."
TEAM = "A vSwitch only watches whether the link is up."
NOTIFIES = "ESXi notifies the switches by itself."
OWN_MAC = "The VMkernel interface gets an address of ESXi's."
KEEPS_ADDRESS = "A VMkernel interface keeps its address."
ONE_UPLINK = "A port stays with one uplink."
# (rule: esxi-lacp-ignored)
LACP = "The team hashes by IP address, which needs a static channel, not LACP."
_NO_LACP = "{name} is ignored: ESXi has no setting for the LACP rate or the XMIT hash policy."
_CHANNEL = "Set the switch's ports to a static channel."

MAIN_TABLE = ("254", "main")
METRIC = Key(
    "metric", "number", WARNING, "Of two equal routes, the one with the lowest metric is added.",
    unless=("0",), message="The metric of a route is ignored on ESXi.", code="metric",
)  # fmt: skip
TABLE = Key(
    "table", "text", WARNING, "The host has one routing table.",
    unless=MAIN_TABLE, message="The route of table {value} is left out.", code="table",
)  # fmt: skip


def lacp_key(name: str) -> Key:
    """A setting of LACP that a host has no use for."""
    return Key(name, "text", WARNING, LACP, message=_NO_LACP, code="lacp", fix=_CHANNEL)
