# SPDX-License-Identifier: Apache-2.0
"""Configurations for iPXE, GRUB and PXELINUX, as text (rules: boot-config-paths, boot-squashfs).

Each pins the files of one version. Whatever comes from the boot table is checked by
``flaw`` before it's stored, and once more here: no value can start another line or command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from webapp.errors import Problem
from webapp.services.boot.choosing import INITRD, KERNEL, ROOT, Outcome, arch_of
from webapp.streams.restrictions import read_mac

Loader = Literal["ipxe", "grub", "pxelinux"]

MAX_PARAMETERS = 1000  # bytes; the kernel's command line has 2,048
# What each of the three languages passes on as it is: no quotes, no variables, no comments.
_WORD = re.compile(r"[A-Za-z0-9!%&()*+,./:;<=>?@\[\]^_|~-]+", re.ASCII)
_OPERATOR = re.compile(r"[|&;<>()]+")
_NOT_SHOWN = re.compile(r"[^A-Za-z0-9 .,:;/()+_-]", re.ASCII)

_ARCH = r"(?P<arch>[a-z0-9_]{1,16})(?:-(?P<more>[\w.:-]{0,64}))?"  # a kernel, or a MAC address
_MAC = r"(?P<mac>(?:[0-9A-Fa-f]{2}[:-]?){6})"
_PATHS: dict[Loader, re.Pattern[str]] = {
    "ipxe": re.compile(rf"ipxe\.cfg(?:-default-{_ARCH}|-{_MAC})?", re.ASCII),
    "grub": re.compile(rf"grub/grub\.cfg(?:-default-{_ARCH}|-(?:01-)?{_MAC})?", re.ASCII),
    "pxelinux": re.compile(rf"pxelinux\.cfg/(?:default(?:[.-]{_ARCH})?|01-{_MAC})", re.ASCII),
}


@dataclass(frozen=True)
class Asked:
    """What a loader asks for. Both mac and arch are "" where its script has to choose.

    With both, the machine's own configuration or else the default.
    """

    loader: Loader
    mac: str
    arch: str


def asked(path: str) -> Asked | None:
    """What a path below the rack's root asks for; None when it's no configuration."""
    for loader, pattern in _PATHS.items():
        match = pattern.fullmatch(path)
        if match:
            arch = match["arch"] or ("amd64" if loader == "pxelinux" else "")
            if match["mac"]:
                return Asked(loader, read_mac(match["mac"]), "")
            return Asked(loader, read_mac(match["more"] or ""), arch_of(arch))
    return None


def flaw(parameters: str) -> str:
    """Why kernel parameters can't be given to every boot loader, "" when they can."""
    if len(parameters) > MAX_PARAMETERS:
        return f"Use up to {MAX_PARAMETERS} characters."
    for word in parameters.split(" "):
        if word and (not _WORD.fullmatch(word) or _OPERATOR.fullmatch(word)):
            return (
                f"Boot loaders can't pass on {word[:40]!a}. Leave out quotes, backslashes, "
                "#, $, braces and anything but ASCII."
            )
    return ""


def words(outcome: Outcome, base: str) -> list[str]:
    """The kernel's parameters: those that find the root file system, then the entry's own."""
    own = outcome.entry.parameters if outcome.entry else ""
    if problem := flaw(own):
        raise Problem("These kernel parameters can't be used.", where=own[:80], got=problem)
    given = own.split()
    known = {word.partition("=")[0] for word in given}
    added = {}
    if outcome.path(ROOT):
        added = {"root": f"squash:{base}{outcome.path(ROOT)}", "ip": "dhcp", "overlayroot": "tmpfs"}
    return [f"{key}={value}" for key, value in added.items() if key not in known] + given


def text(loader: Loader, outcome: Outcome, base: str) -> str:
    """The configuration of one machine. base: the rack's address, with a slash at its end."""
    if outcome.image is None:
        return _NOTHING[loader](_shown(outcome.problem.what if outcome.problem else outcome.why))
    return _BOOT[loader](outcome, base)


def title(outcome: Outcome) -> str:
    """What is booted, for a screen."""
    if outcome.entry is None or outcome.image is None:
        return "nothing"
    return _shown(f"{outcome.entry.image}, {outcome.image.version}")


def _shown(line: str) -> str:
    """Text that means nothing in any of the languages."""
    plain = line.replace("can't", "cannot").replace("n't", " not")
    return _NOT_SHOWN.sub("_", plain)[:200]


# -- iPXE: https://ipxe.org/scripting


def _ipxe(outcome: Outcome, base: str) -> str:
    name = outcome.path(INITRD).rpartition("/")[2]
    parameters = ["BOOTIF=01-${netX/mac:hexhyp}", *words(outcome, base)]
    # It never fails, since the chooser would boot the default image instead.
    return (
        "#!ipxe\n"
        f"echo Slipway: {title(outcome)}\n"
        f"kernel {base}{outcome.path(KERNEL)} initrd={name} {' '.join(parameters)} || goto failed\n"
        f"initrd {base}{outcome.path(INITRD)} || goto failed\n"
        "boot || goto failed\n"
        ":failed\n"
        "sleep 5\n"
        "exit 0\n"
    )


def _ipxe_nothing(line: str) -> str:
    return f"#!ipxe\necho Slipway: {line}\nsleep 5\nexit 0\n"


# Choosers name the machine twice, or one whose first request fails would get the default.


def _ipxe_chooser(base: str) -> str:
    chain, mac = f"chain --autofree {base}ipxe.cfg-", "${netX/mac:hexhyp}"
    return f"#!ipxe\n{chain}{mac} || {chain}default-${{buildarch}}-{mac}\n"


# -- GRUB: paths are on the server and by the protocol that GRUB came from


def _grub(outcome: Outcome, base: str) -> str:
    parameters = words(outcome, base)
    if outcome.machine:
        parameters.insert(0, f"BOOTIF=01-{outcome.machine.replace(':', '-')}")
    quoted = " ".join(f"'{word}'" for word in parameters)
    return (
        f"echo 'Slipway: {title(outcome)}'\n"
        f"if linux /{outcome.path(KERNEL)} {quoted}; then\n"
        f"  if initrd /{outcome.path(INITRD)}; then\n"
        "    boot\n"
        "  fi\n"
        "fi\n"
        "sleep 5\n"
        "exit 1\n"
    )


def _grub_nothing(line: str) -> str:
    return f"echo 'Slipway: {line}'\nsleep 5\nexit 1\n"


def _grub_chooser() -> str:
    return (
        "configfile /grub/grub.cfg-${net_default_mac}\n"
        "configfile /grub/grub.cfg-default-${grub_cpu}-${net_default_mac}\n"
        # Without either, GRUB would wait at its prompt.
        "echo 'Slipway: there is no image for this machine.'\n"
        "sleep 5\n"
        "exit 1\n"
    )


# -- PXELINUX: lpxelinux.0 fetches by HTTP


def _pxelinux(outcome: Outcome, base: str) -> str:
    return (
        "DEFAULT slipway\n"
        "PROMPT 0\n"
        f"SAY Slipway: {title(outcome)}\n"
        "LABEL slipway\n"
        f"  KERNEL {base}{outcome.path(KERNEL)}\n"
        f"  INITRD {base}{outcome.path(INITRD)}\n"
        f"  APPEND {' '.join(words(outcome, base)) or 'quiet'}\n"
        "  IPAPPEND 2\n"
    )


def _pxelinux_nothing(line: str) -> str:
    return f"DEFAULT local\nPROMPT 0\nSAY Slipway: {line}\nLABEL local\n  LOCALBOOT 0\n"


def chooser(loader: Loader, base: str) -> str:
    """The script that asks for the machine's own configuration, then for the default."""
    return _ipxe_chooser(base) if loader == "ipxe" else _grub_chooser()


_BOOT: dict[Loader, Callable[[Outcome, str], str]] = {
    "ipxe": _ipxe,
    "grub": _grub,
    "pxelinux": _pxelinux,
}
_NOTHING: dict[Loader, Callable[[str], str]] = {
    "ipxe": _ipxe_nothing,
    "grub": _grub_nothing,
    "pxelinux": _pxelinux_nothing,
}
