# SPDX-License-Identifier: Apache-2.0
"""Mend a configuration by one step that a finding offers: bond mode, active NIC, no bridge.

Everything else stays as it was written: comments, order, quotes, indentation of lists.
"""

from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from webapp.errors import Problem
from webapp.vmware.model import Fix
from webapp.vmware.reading import read

_ADDRESSES = ("addresses", "dhcp4", "dhcp6", "gateway4", "gateway6", "nameservers", "routes", "mtu")


def mend(text: str, fix: Fix) -> str:
    """The configuration with this one step taken.

    Raises Unreadable for a text that is none, Problem when the step fits nothing in it.
    """
    read(text)  # the bounds of what a stranger may send hold here too
    yaml = _yaml(text)
    try:
        document = yaml.load(text.removeprefix("\ufeff"))
    except (YAMLError, ValueError, LookupError) as error:  # such as a date that never was
        raise Problem(
            "A value in the configuration is not of the kind that it looks like.",
            code="network-fix",
            expected="words and numbers as YAML knows them",
            got=str(error).strip().partition("\n")[0][:100],
            next_step="Put such words in quotes, or take the step by hand.",
        ) from error
    network = document.get("network", document) if isinstance(document, dict) else {}
    steps = {"mode": _set_mode, "active": _set_active, "drop-bridge": _drop_bridge}
    is_done = False
    if fix.op in steps and isinstance(network, dict):
        is_done = steps[fix.op](network, fix)
    if not is_done:
        raise Problem(
            "This step fits nothing in the configuration.",
            code="network-fix",
            where=fix.name[:80],
            got=fix.op[:40],
            next_step="The text was changed meanwhile; plan it again.",
        )
    if text.lstrip().startswith("{"):
        return json.dumps(document, indent=2) + "\n"
    made = io.StringIO()
    yaml.dump(document, made)
    return made.getvalue()


def _yaml(text: str) -> YAML:
    """Reads and writes words as they stand: YAML 1.1 takes 52:54:00:12:34:56 for a number."""
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 10_000
    offset = _list_offset(text.splitlines())
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    return yaml


def _list_offset(lines: list[str]) -> int:
    """How far the first list is indented below its key; 2 where there is none."""
    for key, item in pairwise(lines):
        is_key = key.partition(" #")[0].rstrip().endswith(":")
        if is_key and item.lstrip(" ").startswith("- "):
            depth = len(item) - len(item.lstrip(" ")) - (len(key) - len(key.lstrip(" ")))
            return min(max(depth, 0), 8)
    return 2


def _entries(network: dict[str, Any]) -> list[dict[str, Any]]:
    config = network.get("config")
    return [e for e in config if isinstance(e, dict)] if isinstance(config, list) else []


def _named(network: dict[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    """A device of v1 by its name."""
    return next(
        (e for e in _entries(network) if e.get("type") == kind and _name(e) == name),
        None,
    )


def _name(entry: dict[str, Any]) -> Any:
    return entry.get("name") or entry.get("id")


def _device(network: dict[str, Any], section: str, name: str) -> dict[str, Any] | None:
    """A device of v2 by its name."""
    devices = network.get(section)
    found = devices.get(name) if isinstance(devices, dict) else None
    return found if isinstance(found, dict) else None


def _set_mode(network: dict[str, Any], fix: Fix) -> bool:
    old = _named(network, "bond", fix.name)
    if old is not None:
        params = old.setdefault("params", {})
        params.pop("mode", None)
        params["bond-mode"] = fix.value
        return True
    new = _device(network, "bonds", fix.name)
    if new is None:
        return False
    new.setdefault("parameters", {})["mode"] = fix.value
    return True


def _set_active(network: dict[str, Any], fix: Fix) -> bool:
    old = _named(network, "bond", fix.name)
    if old is not None:
        member = _named(network, "physical", fix.value)
        if member is None or not member.get("mac_address"):
            return False
        old["mac_address"] = member["mac_address"]
        return True
    new = _device(network, "bonds", fix.name)
    if new is None:
        return False
    new.pop("macaddress", None)
    new.setdefault("parameters", {})["primary"] = fix.value
    return True


def _drop_bridge(network: dict[str, Any], fix: Fix) -> bool:
    old = _named(network, "bridge", fix.name)
    if old is not None:
        members = old.get("bridge_interfaces") or []
        network["config"].remove(old)
        below = next((e for e in _entries(network) if members and _name(e) == members[0]), None)
        if below is not None and not _has_addresses(below) and old.get("subnets"):
            below["subnets"] = old["subnets"]
        for entry in _entries(network):
            if entry.get("vlan_link") == fix.name and members:
                entry["vlan_link"] = members[0]
        return True
    bridges = network.get("bridges")
    new = _device(network, "bridges", fix.name)
    if new is None or not isinstance(bridges, dict):
        return False
    del bridges[fix.name]
    if not bridges:
        del network["bridges"]
    members = new.get("interfaces") or []
    for section in ("ethernets", "bonds", "vlans"):
        below = _device(network, section, members[0]) if members else None
        if below is not None and not any(below.get(key) for key in ("addresses", "dhcp4", "dhcp6")):
            below.update({key: new[key] for key in _ADDRESSES if key in new})
    return True


def _has_addresses(entry: dict[str, Any]) -> bool:
    subnets = entry.get("subnets") or []
    return any(isinstance(s, dict) and s.get("type") != "manual" for s in subnets)
