# SPDX-License-Identifier: Apache-2.0
"""Turn a network configuration into what an ESXi host gets.

The commands start from a host whose network is empty, as the deployment script
leaves it (rule: esxi-wipe-first). A plan without errors is a promise: the host
takes every command. A plan with errors has no commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from webapp.vmware.model import ERROR, NOTE, SKIPPED, Config
from webapp.vmware.netplan_keys import NETPLAN
from webapp.vmware.planned import HostPlan
from webapp.vmware.planner import TEAMING, Planner
from webapp.vmware.reading import Unreadable, Value, read
from webapp.vmware.version1 import read_version1
from webapp.vmware.version2 import read_version2

__all__ = ["TEAMING", "HostPlan", "plan"]


def plan(text: str | bytes, nics: Mapping[str, str] | None = None) -> HostPlan:
    """Plan the network of a host.

    nics: vmnic name -> MAC address in lower case; None when the host isn't
    known, then NICs are counted from vmnic0 in the order of the text. Raises
    Unreadable when the text isn't a network configuration.
    """
    return Planner(_read_config(read(text)), nics).run()


def _read_config(document: Value) -> Config:
    network = document.get("network") or document
    _refuse_disabled(network)
    version = network.get("version") if network.kind == "map" else None
    word = version.text if version else None
    sections = {name for name, key in NETPLAN["network"].items() if key.takes == "devices"}
    if word is None and version is None and sections & set(network.entries):
        word = "2"  # netplan's default
    if word not in ("1", "2"):
        raise Unreadable(
            "This version of the network configuration isn't supported.",
            where=str((version or network).place),
            expected="version: 1 or version: 2",
            got=repr(word)[:40] if word else "none",
            next_step="Give network configuration v1 or netplan v2."
            if "links" not in network.entries
            else "This may be OpenStack's network_data.json; give what cloud-init makes of it.",
        )
    config = read_version1(network) if word == "1" else read_version2(network)
    if network is not document:
        _name_neighbours(config, document, sections)
    return config


def _refuse_disabled(network: Value) -> None:
    """Raises Unreadable for what cloud-init takes for "leave the network alone"."""
    word = network.get("config")
    if word is not None and word.text == "disabled":
        raise Unreadable(
            "Network configuration is disabled.",
            where=str(word.at),
            expected="the configuration that the host gets",
            got="config: disabled",
            next_step="Give a configuration. A host that gets none can't be reached.",
        )


def _name_neighbours(config: Config, document: Value, sections: set[str]) -> None:
    """Name what is beside the network section: the rest of a curtin document, or lost devices."""
    others = [name for name in document.entries if name != "network"]
    lost = [name for name in others if name in sections or name in ("config", "version")]
    for name in lost:
        message = f"{name} is beside network instead of in it."
        place = document.entries[name].at
        config.find(ERROR, "misplaced", message, place, SKIPPED, "Indent it below network.")
    rest = [name for name in others if name not in lost]
    if rest:
        message = f"Only the network section is read, not {', '.join(rest)[:200]}."
        config.find(NOTE, "ignored", message, document.entries[rest[0]].at)
