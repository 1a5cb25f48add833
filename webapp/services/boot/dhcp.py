# SPDX-License-Identifier: Apache-2.0
"""What to add to a site's DHCP server, with the rack's address (rule: dhcp-boot-lines)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

# Client architectures of RFC 4578 and IANA's list: what firmware says it is, and its loader.
_HTTP = (("uefi-http-x64", 16, "bootx64.efi"), ("uefi-http-arm64", 19, "grubaa64.efi"))
_TFTP = (
    ("bios", (0,), "lpxelinux.0"),
    ("uefi-x64", (7, 9), "bootx64.efi"),
    ("uefi-arm64", (11,), "grubaa64.efi"),
)


@dataclass(frozen=True)
class DhcpLines:
    """The lines for each DHCP server."""

    dnsmasq: str
    isc: str
    kea: str


def lines(base: str, *, has_tftp: bool = False) -> DhcpLines:
    """The lines for iPXE, for UEFI that boots by HTTP and, with TFTP, for all other firmware.

    base: the rack's address, with a slash at its end. has_tftp: on port 69, since firmware
    knows no other.
    """
    server = (urlsplit(base).hostname or "") if has_tftp else ""
    return DhcpLines(_dnsmasq(base, server), _isc(base, server), _kea(base, server))


def _dnsmasq(base: str, server: str) -> str:
    found = ["dhcp-match=set:ipxe,175", f"dhcp-boot=tag:ipxe,{base}ipxe.cfg"]
    for name, number, file in _HTTP:
        found += [
            f"dhcp-match=set:{name},option:client-arch,{number}",
            f"dhcp-option-force=tag:{name},60,HTTPClient",
            f"dhcp-boot=tag:{name},tag:!ipxe,{base}{file}",
        ]
    for name, numbers, file in _TFTP if server else ():
        found += [f"dhcp-match=set:{name},option:client-arch,{number}" for number in numbers]
        found.append(f"dhcp-boot=tag:{name},tag:!ipxe,{file},,{server}")
    return "\n".join(found) + "\n"


def _isc(base: str, server: str) -> str:
    found = [
        "option arch code 93 = unsigned integer 16;",
        'if exists user-class and option user-class = "iPXE" {',
        f'  filename "{base}ipxe.cfg";',
    ]
    for _, number, file in _HTTP:
        found += [
            f"}} elsif option arch = 00:{number:02x} {{",
            '  option vendor-class-identifier "HTTPClient";',
            f'  filename "{base}{file}";',
        ]
    for _, numbers, file in _TFTP if server else ():
        asked = " or ".join(f"option arch = 00:{number:02x}" for number in numbers)
        found += [f"}} elsif {asked} {{", f"  next-server {server};", f'  filename "{file}";']
    return "\n".join([*found, "}"]) + "\n"


def _kea(base: str, server: str) -> str:
    # Of several classes the first one that has a file name counts.
    found = [_class("ipxe", "option[77].hex == 'iPXE'", f"{base}ipxe.cfg")]
    vendor = ' "option-data": [{ "name": "vendor-class-identifier", "data": "HTTPClient" }],'
    for name, number, file in _HTTP:
        test = f"option[93].hex == 0x{number:04x}"
        found.append(_class(name, test, base + file, vendor))
    for name, numbers, file in _TFTP if server else ():
        test = " or ".join(f"option[93].hex == 0x{number:04x}" for number in numbers)
        found.append(_class(name, test, file, f' "next-server": "{server}",'))
    return '"client-classes": [\n' + ",\n".join(found) + "\n]\n"


def _class(name: str, test: str, file: str, more: str = "") -> str:
    return f'  {{ "name": "{name}", "test": "{test}",\n   {more} "boot-file-name": "{file}" }}'
