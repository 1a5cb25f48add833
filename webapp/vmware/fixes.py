# SPDX-License-Identifier: Apache-2.0
"""Apply one step that a finding offers: set a bond mode, choose the active NIC, remove a bridge.

Everything else stays as written: comments, order, quotes, indentation of lists.
"""

from __future__ import annotations

import io
import json
from contextlib import suppress
from copy import deepcopy
from itertools import pairwise
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from webapp.errors import Problem
from webapp.vmware.model import Fix
from webapp.vmware.reading import read
from webapp.vmware.version1 import parameter_name

_ADDRESSES = ("addresses", "dhcp4", "dhcp6", "gateway4", "gateway6", "nameservers", "routes", "mtu")


def apply_fix(text: str, fix: Fix) -> str:
    """The configuration with this one step applied.

    Raises Unreadable when the text isn't a configuration, Problem when the step doesn't fit it.
    """
    read(text)  # with its bounds on what a stranger may send
    yaml = _yaml(text)
    try:
        document = yaml.load(text.removeprefix("\ufeff"))
    except (YAMLError, ValueError, LookupError) as error:  # e.g. the 99th of a month
        raise Problem(
            "A value in the configuration isn't of the type it looks like.",
            code="network-fix",
            expected="words and numbers as YAML knows them",
            got=str(error).strip().partition("\n")[0][:100],
            next_step="Put such values in quotes, or edit the configuration by hand.",
        ) from error
    network = document.get("network", document) if isinstance(document, dict) else {}
    steps = {"mode": _set_mode, "active": _set_active, "drop-bridge": _drop_bridge}
    is_done = False
    if fix.op in steps and isinstance(network, dict):
        with suppress(KeyError):  # what a merge key (<<) brought in can't be taken out here
            is_done = steps[fix.op](network, fix)
    if not is_done:
        raise Problem(
            "This fix no longer applies.",
            code="network-fix",
            where=fix.name[:80],
            got=fix.op[:40],
            next_step="The configuration has changed; plan it again.",
        )
    if text.lstrip().startswith("{"):
        return json.dumps(document, indent=2, default=str) + "\n"
    made = io.StringIO()
    yaml.dump(document, made)
    return made.getvalue()


def _yaml(text: str) -> YAML:
    """Keeps values as written: YAML 1.1 takes 52:54:00:12:34:56 for a number."""
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
        params = _map_in(old, "params")
        keys = [key for key in params if parameter_name(str(key)) == "mode"]
        params[keys[0] if keys else "bond-mode"] = fix.value
        for other in keys[1:]:
            del params[other]
        return True
    new = _device(network, "bonds", fix.name)
    if new is None:
        return False
    _map_in(new, "parameters")["mode"] = fix.value
    return True


def _map_in(entry: dict[str, Any], key: str) -> dict[str, Any]:
    """The map under a key; a new one where there is none, or where others share it by an alias."""
    found = entry.get(key)
    own: dict[str, Any] = deepcopy(found) if isinstance(found, dict) else {}
    if isinstance(own, CommentedMap):
        own.yaml_set_anchor(None)
    entry[key] = own
    return own


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
    _map_in(new, "parameters")["primary"] = fix.value
    return True


def _drop_bridge(network: dict[str, Any], fix: Fix) -> bool:
    old = _named(network, "bridge", fix.name)
    if old is not None:
        members = _names(old, "bridge_interfaces")
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
    members = _names(new, "interfaces")
    vlans = network.get("vlans")
    for vlan in vlans.values() if isinstance(vlans, dict) else ():
        if isinstance(vlan, dict) and vlan.get("link") == fix.name and members:
            vlan["link"] = members[0]
    for section in ("ethernets", "bonds", "vlans"):
        below = _device(network, section, members[0]) if members else None
        if below is not None and not any(below.get(key) for key in ("addresses", "dhcp4", "dhcp6")):
            below.update({key: new[key] for key in _ADDRESSES if key in new})
    return True


def _names(entry: dict[str, Any], key: str) -> list[str]:
    return [item for item in _items(entry, key) if isinstance(item, str)]


def _items(entry: dict[str, Any], key: str) -> list[Any]:
    """The names or maps under a key, which may be written as a single one."""
    found = entry.get(key)
    items = found if isinstance(found, list) else [found]
    return [item for item in items if isinstance(item, str | dict)]


def _has_addresses(entry: dict[str, Any]) -> bool:
    subnets = _items(entry, "subnets")
    return any(isinstance(s, dict) and s.get("type") != "manual" for s in subnets)
