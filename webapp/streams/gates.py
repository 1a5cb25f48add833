# SPDX-License-Identifier: Apache-2.0
"""Which products and files of a stream are used (rules: product-gate, stored-file-types)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from webapp.streams.documents import STORED_FTYPES, Item

# (firmware, loader, architecture): the boot loaders that racks use. The BIOS loader
# is published for i386, and by mirrors made after MAAS's tutorial for amd64.
SUPPORTED_LOADERS = frozenset(
    {
        ("pxe", "pxelinux", "i386"),
        ("pxe", "pxelinux", "amd64"),
        ("uefi", "grub-efi-signed", "amd64"),
        ("uefi", "grub-efi", "arm64"),
        ("open-firmware", "grub-ieee1275", "ppc64el"),
    }
)

_FORMAT = re.compile(r"v\d.*|\d{1,3}", re.ASCII)
_ROOT_TARBALLS = frozenset({"root-tgz", "root-tbz", "root-txz"})
_ROOT_IMAGES = frozenset({"squashfs", "root-image.gz"})
# One segment of an address under /images/, and the safe half of what a file
# system takes: never ".", "..", empty, nor anything a boot config would split at.
_SEGMENT = re.compile(r"[A-Za-z0-9][\w.+~:@-]{0,127}", re.ASCII)


def product_refusal(name: str, os: str, fields: Mapping[str, str]) -> str:
    """Why a product is not taken, "" when it is."""
    formats = {part for part in name.lower().split(":") if _FORMAT.fullmatch(part)}
    firmware = fields.get("bootloader-type", "")
    if firmware:
        return _loader_refusal(formats, os, firmware, fields.get("arch", ""))
    numbered = {mark for mark in formats if mark.startswith("v")}
    if os == "ubuntu" and numbered and numbered.isdisjoint(("v2", "v3")):
        return "only formats v2 and v3 are used for Ubuntu"
    if os == "ubuntu-core" and numbered and "v4" not in numbered:
        return "only format v4 is used for Ubuntu Core"
    return ""


def has_format(name: str) -> bool:
    """Whether a product's name contains its format, e.g. ``:v3:``."""
    return any(part.startswith("v") for part in name.lower().split(":") if _FORMAT.fullmatch(part))


def _loader_refusal(formats: set[str], os: str, firmware: str, arch: str) -> str:
    if formats and "1" not in formats:
        return "only format 1 is used for boot loaders"
    if (firmware, os, arch) not in SUPPORTED_LOADERS:
        return f"no machine boots from {os} for {firmware} on {arch or 'no architecture'}"
    return ""


def ubuntu_refusal(ftypes: Collection[str]) -> str:
    """Why these files aren't an Ubuntu that machines can boot or install, "" when they are.

    Other streams hold Ubuntu products as well: a cloud image has a squashfs and no kernel.
    """
    has_kernel = {"boot-kernel", "boot-initrd"}.issubset(ftypes)
    if has_kernel and not _ROOT_IMAGES.isdisjoint(ftypes):
        return ""
    if not _ROOT_TARBALLS.isdisjoint(ftypes) or any(name.startswith("root-dd") for name in ftypes):
        return ""
    return "it has neither kernel, initrd and squashfs nor a root tarball"


def segment_refusal(names: Iterable[tuple[str, str]]) -> str:
    """Why these names, each with what it is, can't be part of a URL; "" when they can."""
    for what, value in names:
        if not value:
            return f"it has no {what}"
        if not _SEGMENT.fullmatch(value):
            return f"its {what} can't be part of a URL: {value[:80]!a}"
    return ""


def item_refusal(item: Item) -> str:
    """Why a file is not stored, "" when it is."""
    if item.ftype not in STORED_FTYPES:
        return f"files of type {item.ftype or 'none'} aren't stored"
    return ""
