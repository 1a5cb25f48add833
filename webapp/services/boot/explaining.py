# SPDX-License-Identifier: Apache-2.0
"""What a machine would get, and why, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass

from webapp.errors import Problem
from webapp.services.boot import configs
from webapp.services.boot.choosing import INITRD, KERNEL, ROOT, Outcome
from webapp.services.boot.configs import Loader

TITLES: dict[Loader, str] = {"ipxe": "iPXE", "grub": "GRUB", "pxelinux": "PXELINUX"}
_PATHS: dict[Loader, tuple[str, str]] = {
    "ipxe": ("ipxe.cfg-{mac}", "ipxe.cfg-default-{arch}-{mac}"),
    "grub": ("grub/grub.cfg-{mac}", "grub/grub.cfg-default-{arch}-{mac}"),
    "pxelinux": ("pxelinux.cfg/01-{dashes}", "pxelinux.cfg/default-{arch}"),
}


@dataclass(frozen=True)
class Configuration:
    """What the rack answers to a boot loader. url: where the loader asks."""

    loader: Loader
    title: str
    url: str
    text: str


@dataclass(frozen=True)
class Explanation:
    """What a machine would get. image and version are "" where there is nothing to boot.

    is_own: whether the machine has an entry. kernel, initrd, root: URLs. problem: why it can't.
    """

    machine: str
    arch: str
    is_own: bool
    why: str
    image: str
    version: str
    kernel: str
    initrd: str
    root: str
    parameters: str
    problem: Problem | None
    configurations: tuple[Configuration, ...]


def explain(outcome: Outcome, base: str) -> Explanation:
    """Put an outcome into words. base: the rack's address, with a slash at its end."""
    urls = [base + path if (path := outcome.path(one)) else "" for one in (KERNEL, INITRD, ROOT)]
    has_text = outcome.entry is not None
    return Explanation(
        machine=outcome.machine,
        arch=outcome.arch,
        is_own=outcome.has_own_entry,
        why=outcome.why + _kept(outcome),
        image=outcome.entry.image if outcome.entry else "",
        version=outcome.image.version if outcome.image else "",
        kernel=urls[0],
        initrd=urls[1],
        root=urls[2],
        parameters=" ".join(configs.words(outcome, base)) if outcome.image else "",
        problem=outcome.problem,
        configurations=tuple(_configurations(outcome, base)) if has_text else (),
    )


def _kept(outcome: Outcome) -> str:
    """A sentence about an image that isn't for every machine, as far as it matters to this one."""
    kept = outcome.image.restriction if outcome.image else None
    if kept is None or outcome.machine in kept.macs:
        return ""
    networks = ", ".join(kept.networks)
    if not networks:
        return " The image is kept to other MAC addresses: for this machine it isn't there."
    return f" The image is kept to {networks}: for a machine elsewhere it isn't there."


def _configurations(outcome: Outcome, base: str) -> list[Configuration]:
    dashes = outcome.machine.replace(":", "-")
    names = {"mac": outcome.machine, "dashes": dashes, "arch": outcome.arch}
    found = []
    for loader, (own, default) in _PATHS.items():
        path = (own if outcome.has_own_entry else default).format(**names)
        if loader == "ipxe":
            path = path.replace(":", "-")
        text = configs.text(loader, outcome, base)
        found.append(Configuration(loader, TITLES[loader], base + path, text))
    return found
