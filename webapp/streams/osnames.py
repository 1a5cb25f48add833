# SPDX-License-Identifier: Apache-2.0
"""Titles and order of operating systems and their releases (rule: image-titles)."""

from __future__ import annotations

import re
from typing import Protocol

_OS_TITLES = {
    "bootloader": "Boot loader",
    "caringo": "Caringo",
    "centos": "CentOS",
    "custom": "Custom",
    "esxi": "VMware ESXi",
    "grub-efi": "GRUB (UEFI)",
    "grub-efi-signed": "GRUB (UEFI, signed)",
    "grub-ieee1275": "GRUB (Open Firmware)",
    "ol": "Oracle Linux",
    "pxelinux": "PXELINUX",
    "rhel": "Red Hat Enterprise Linux",
    "suse": "SUSE",
    "ubuntu": "Ubuntu",
    "ubuntu-core": "Ubuntu Core",
    "windows": "Windows",
}
_CENTOS = re.compile(r"centos(\d)(\d)?(?:-(.+))?", re.ASCII)
_ESXI = re.compile(r"(?:(\d+)(?:\.(\d+))?(?:\.(\d+))?)?[-.]?(.*)", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


class HasRelease(Protocol):
    """What lists are ordered by: an offer, or a row of the boot source cache."""

    @property
    def os(self) -> str:
        """Operating system."""

    @property
    def release(self) -> str:
        """Release, e.g. ``noble``."""

    @property
    def release_title(self) -> str:
        """Title of the release, e.g. ``24.04 LTS``."""

    @property
    def release_version(self) -> str:
        """Version of the release, e.g. ``24.04``."""


def os_title(os: str) -> str:
    """The name of an operating system as users write it; its own name when unknown."""
    return _OS_TITLES.get(os, os)


def release_title(os: str, release: str, stream_title: str = "") -> str:
    """The full title of a release, e.g. ``Ubuntu 24.04 LTS``.

    ``centosNM`` and ESXi releases are named by rule, so that an uploaded and a
    synced image of the same name read alike; for all others the stream's own
    title counts, and the release's name when there is none.
    """
    name = os_title(os)
    by_rule = _title_by_rule(os, release)
    if by_rule:
        return f"{name} {by_rule}"
    title = stream_title or release
    return title if title.casefold().startswith(name.casefold()) else f"{name} {title}".rstrip()


def is_lts(title: str) -> bool:
    """Whether a release's title, as the stream gives it, calls it long-term supported."""
    return "LTS" in title.split()


def order_key(offer: HasRelease) -> tuple[object, ...]:
    """Sort key of a list of releases: Ubuntu first, LTS before others, newest first."""
    is_ubuntu = offer.os == "ubuntu"
    version = offer.release_version or offer.release
    newest = [-int(number) for number in _NUMBER.findall(version)]
    return (
        not is_ubuntu,
        os_title(offer.os).casefold(),
        not is_lts(offer.release_title),
        not newest,
        newest,
        offer.release,
    )


def _title_by_rule(os: str, release: str) -> str:
    if os == "centos":
        match = _CENTOS.fullmatch(release)
        if not match:
            return ""
        major, minor, name = match.groups(default="")
        # 6.6 is the one 6 there ever was in the stream, and is shown as plain 6.
        number = major if minor in ("", "0") or release == "centos66" else f"{major}.{minor}"
        return f"{number} {name}".rstrip()
    if os == "esxi":
        match = _ESXI.fullmatch(release)
        if not match:
            return ""
        *numbers, name = match.groups(default="")
        return f"{'.'.join(filter(None, numbers))} {name}".strip()
    return ""
