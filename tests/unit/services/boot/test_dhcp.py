# SPDX-License-Identifier: Apache-2.0
"""Lines for DHCP servers (rule: dhcp-boot-lines)."""

from __future__ import annotations

from webapp.services.boot import dhcp

BASE = "http://10.0.0.5:5248/"


def test_without_tftp_only_what_boots_by_http_is_named() -> None:
    found = dhcp.lines(BASE)
    for text in (found.dnsmasq, found.isc, found.kea):
        assert "http://10.0.0.5:5248/ipxe.cfg" in text
        assert "http://10.0.0.5:5248/bootx64.efi" in text
        assert "HTTPClient" in text
        assert "lpxelinux.0" not in text


def test_with_tftp_each_kind_of_firmware_has_its_loader() -> None:
    found = dhcp.lines(BASE, has_tftp=True)
    assert "dhcp-boot=tag:bios,tag:!ipxe,lpxelinux.0,,10.0.0.5\n" in found.dnsmasq
    assert "dhcp-match=set:uefi-x64,option:client-arch,9\n" in found.dnsmasq
    assert (
        "} elsif option arch = 00:07 or option arch = 00:09 {\n  next-server 10.0.0.5;\n"
        '  filename "bootx64.efi";\n'
    ) in found.isc
    assert '"test": "option[93].hex == 0x000b"' in found.kea
    assert '"next-server": "10.0.0.5", "boot-file-name": "grubaa64.efi"' in found.kea
