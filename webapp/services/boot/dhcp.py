# SPDX-License-Identifier: Apache-2.0
"""What to add to a site's DHCP server, with the rack's address (rule: dhcp-boot-lines)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DhcpLines:
    """The lines for each DHCP server."""

    dnsmasq: str
    isc: str
    kea: str


def lines(base: str) -> DhcpLines:
    """The lines for machines whose firmware is iPXE. base: with a slash at its end."""
    script = f"{base}ipxe.cfg"
    return DhcpLines(
        dnsmasq=f"dhcp-match=set:ipxe,175\ndhcp-boot=tag:ipxe,{script}\n",
        isc=(
            'if exists user-class and option user-class = "iPXE" {\n'
            f'    filename "{script}";\n'
            "}\n"
        ),
        kea=(
            '"client-classes": [\n'
            "  {\n"
            '    "name": "ipxe",\n'
            '    "test": "option[77].hex == \'iPXE\'",\n'
            f'    "boot-file-name": "{script}"\n'
            "  }\n"
            "]\n"
        ),
    )
