# SPDX-License-Identifier: Apache-2.0
"""The commands of a plan: a device at a time, DNS last (rule: esxi-command-order)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from webapp.vmware.model import VMKernel, VSwitch


def commands(
    vswitches: Sequence[VSwitch],
    vmks: Sequence[VMKernel],
    dns: Sequence[str],
    search: Sequence[str],
) -> list[str]:
    """Every command of a plan without errors, in an order that a host takes."""
    lines: list[tuple[str, ...]] = []
    for switch in vswitches:
        lines += _of_switch(switch)
        for vmk in vmks:
            if vmk.vswitch == switch.name:
                lines += _of_vmk(vmk)
    lines += [("ip", "dns", "server", "add", "-s", server) for server in dns]
    lines += [("ip", "dns", "search", "add", "-d", domain) for domain in search]
    return [shlex.join(("esxcli", "network", *line)) for line in lines]


def _of_switch(switch: VSwitch) -> list[tuple[str, ...]]:
    base = ("vswitch", "standard")
    lines: list[tuple[str, ...]] = [(*base, "add", "-v", switch.name)]
    if switch.mtu is not None:
        lines.append((*base, "set", "-v", switch.name, "-m", str(switch.mtu)))
    lines += [(*base, "uplink", "add", "-v", switch.name, "-u", nic) for nic in switch.uplinks]
    if switch.policy:
        active = ",".join(switch.uplinks)
        team = ("policy", "failover", "set", "-v", switch.name, "-a", active, "-l", switch.policy)
        lines.append((*base, *team))
    return lines


def _of_vmk(vmk: VMKernel) -> list[tuple[str, ...]]:
    group = ("vswitch", "standard", "portgroup")
    lines: list[tuple[str, ...]] = [(*group, "add", "-p", vmk.portgroup, "-v", vmk.vswitch)]
    if vmk.vlan:
        lines.append((*group, "set", "-p", vmk.portgroup, "-v", str(vmk.vlan)))
    mtu = ("-m", str(vmk.mtu)) if vmk.mtu is not None else ()
    mac = ("-M", vmk.mac) if vmk.mac else ()
    lines.append(("ip", "interface", "add", "-i", vmk.name, "-p", vmk.portgroup, *mtu, *mac))
    address = vmk.address
    if address is not None and address.version == 4:
        static = ("-t", "static", "-I", str(address.ip), "-N", str(address.netmask))
        lines.append(("ip", "interface", "ipv4", "set", "-i", vmk.name, *static))
    elif address is not None:
        line = ("ip", "interface", "ipv6", "address", "add", "-i", vmk.name, "-I", str(address))
        lines.append(line)
    if "dhcp4" in vmk.kinds:
        lines.append(("ip", "interface", "ipv4", "set", "-i", vmk.name, "-t", "dhcp"))
    if "dhcp6" in vmk.kinds:
        switched = ("-e", "true", "-d", "true")
        lines.append(("ip", "interface", "ipv6", "set", "-i", vmk.name, *switched))
    if "slaac" in vmk.kinds:
        switched = ("-e", "true", "-r", "true")
        lines.append(("ip", "interface", "ipv6", "set", "-i", vmk.name, *switched))
    for route in vmk.routes:
        family, gateway = f"ipv{route.gateway.version}", str(route.gateway)
        if route.network != "default":
            lines.append(("ip", "route", family, "add", "-g", gateway, "-n", route.network))
            continue
        if family == "ipv6":
            lines.append(("ip", "interface", "ipv6", "set", "-i", vmk.name, "-g", gateway))
            if route.gateway.is_link_local:
                continue  # a route of the host couldn't tell which interface is meant
        default = (f"--gateway={gateway}", "--network=default")
        lines.append(("ip", "route", family, "add", *default))
    return lines
