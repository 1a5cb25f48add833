# SPDX-License-Identifier: Apache-2.0
"""Which products and files of a stream are used (rules: product-gate, stored-file-types)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from webapp.streams.documents import STORED_FTYPES, Item

# Streams gate their content on the version of MAAS that reads it. We serve what
# the last 2.x release knows, so that is who we say we are.
MAAS_VERSION = "2.9.2"

# (firmware, loader, architecture): the boot loaders that MAAS 2.9 puts on its racks.
SUPPORTED_LOADERS = frozenset(
    {
        ("pxe", "pxelinux", "i386"),
        ("uefi", "grub-efi-signed", "amd64"),
        ("uefi", "grub-efi", "arm64"),
        ("open-firmware", "grub-ieee1275", "ppc64el"),
    }
)

_VERSION = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,5}")
# One segment of an address under /images/, and the safe half of what a file
# system takes: never ".", "..", empty, nor anything a boot config would split at.
_SEGMENT = re.compile(r"[A-Za-z0-9][\w.+~:@-]{0,127}", re.ASCII)


def product_refusal(name: str, os: str, fields: Mapping[str, str]) -> str:
    """Why a product is not taken, "" when it is."""
    marks = name.lower()
    firmware = fields.get("bootloader-type", "")
    if firmware:
        return _loader_refusal(marks, os, firmware, fields.get("arch", ""))
    if os == "ubuntu" and ":v2:" not in marks and ":v3:" not in marks:
        return "Ubuntu products are taken from format v2 and v3 only"
    if os == "ubuntu-core" and ":v4:" not in marks:
        return "Ubuntu Core products are taken from format v4 only"
    return ""


def _loader_refusal(marks: str, os: str, firmware: str, arch: str) -> str:
    if ":1:" not in marks:
        return "boot loaders are taken from format 1 only"
    if (firmware, os, arch) not in SUPPORTED_LOADERS:
        return f"no machine is booted by {os} for {firmware} on {arch or 'no architecture'}"
    return ""


def segment_refusal(names: Iterable[tuple[str, str]]) -> str:
    """Why these names, each with what it is, cannot be part of an address; "" when they can."""
    for what, value in names:
        if not value:
            return f"it has no {what}"
        if not _SEGMENT.fullmatch(value):
            return f"its {what} cannot be part of an address: {value[:80]!a}"
    return ""


def item_refusal(item: Item) -> str:
    """Why a file is not stored, "" when it is."""
    if item.ftype not in STORED_FTYPES:
        return f"files of type {item.ftype or 'none'} are not stored"
    needed = item.fields.get("maas_supported", "")
    if needed and not is_supported(needed):
        return f"needs MAAS {needed}"
    return ""


def is_supported(maas_version: str) -> bool:
    """Whether content for that version of MAAS is for us; unreadable ones are not.

    What follows the number, as in ``3.0.0~beta1``, does not count.
    """
    match = _VERSION.match(maas_version)
    return match is not None and _numbers(match[0]) <= _numbers(MAAS_VERSION)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
