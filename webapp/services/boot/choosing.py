# SPDX-License-Identifier: Apache-2.0
"""What a machine boots, and why: decided from values alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from webapp.errors import Problem
from webapp.streams.restrictions import Restriction

GENERIC = "generic"
KERNEL, INITRD, ROOT = "boot-kernel", "boot-initrd", "squashfs"
# What boot loaders and Linux call an architecture (rule: boot-config-paths). A BIOS loader
# is for i386, and its machines run amd64.
ARCHES = {
    "i386": "amd64",
    "x86_64": "amd64",
    "aarch64": "arm64",
    "arm": "armhf",
    "arm32": "armhf",
    "powerpc": "ppc64el",
    "ppc64": "ppc64el",
    "ppc64le": "ppc64el",
}
# Nothing of these has to be quoted in any boot loader's language.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._+~:@/-]+", re.ASCII)


def arch_of(word: str) -> str:
    """Our word for an architecture that a boot loader names."""
    return ARCHES.get(word, word)


@dataclass(frozen=True)
class Entry:
    """A row of the boot table; machine is a MAC address or an architecture."""

    machine: str
    os: str
    release: str
    arch: str
    subarch: str
    parameters: str

    @property
    def image(self) -> str:
        """The image in words."""
        kernel = "" if self.subarch == GENERIC else f", kernel {self.subarch}"
        return f"{self.os}/{self.release} {self.arch}{kernel}"


@dataclass(frozen=True)
class StoredImage:
    """An image as it is stored. version: the current one, "" without one.

    folder: where its files are, pinned to that version, below ``/images/``. files: names by
    file type. damaged: the file types whose bytes aren't there. restriction: to whom it's kept,
    None for everyone.
    """

    os: str
    release: str
    arch: str
    subarch: str
    answers_to: tuple[str, ...]
    is_binned: bool = False
    version: str = ""
    folder: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()
    restriction: Restriction | None = None

    def answers(self, kernel: str) -> bool:
        """Whether machines that ask for this kernel get this image."""
        return kernel == self.subarch or kernel in self.answers_to


@dataclass(frozen=True)
class Table:
    """The boot table and the images it names, at one serial of the publication."""

    entries: Mapping[str, Entry]
    images: Mapping[tuple[str, str, str], Sequence[StoredImage]]


@dataclass(frozen=True)
class Outcome:
    """What a machine gets. image is None when there is nothing to boot; problem says why.

    machine: its MAC address, "" for any machine without an entry. why: in a sentence.
    """

    machine: str
    arch: str
    entry: Entry | None
    image: StoredImage | None
    why: str
    problem: Problem | None = None

    @property
    def has_own_entry(self) -> bool:
        """Whether the machine itself is in the table."""
        return self.entry is not None and bool(self.machine) and self.entry.machine == self.machine

    def path(self, ftype: str) -> str:
        """Where a file of the image is, below the rack's address; "" if it has none."""
        name = self.image.files.get(ftype, "") if self.image else ""
        return f"images/{self.image.folder}/{name}" if self.image and name else ""


def decide(table: Table, machine: str, arch: str) -> Outcome:
    """What a machine boots: its own entry, else the default of its architecture, else nothing."""
    own = table.entries.get(machine)
    entry = own or table.entries.get(arch)
    if entry is None:
        whose = f"{machine} has no entry, and there" if machine else "There"
        why = f"{whose} is no default image for {arch}."
        how = f"Set one: slipway boot set default NAME --arch {arch}"
        return Outcome(machine, arch, None, None, why, Problem(why, next_step=how))
    if own:
        why = f"{machine} has an entry of its own."
    else:
        whose = f"{machine} has no entry, so it" if machine else f"A machine on {arch}"
        why = f"{whose} gets the default image for {arch}."
    found = table.images.get((entry.os, entry.release, entry.arch), ())
    chosen = _with_kernel(found, entry.subarch)
    problem = _unbootable(entry, found, chosen)
    return Outcome(machine, entry.arch, entry, None if problem else chosen, why, problem)


def withheld(outcome: Outcome) -> Outcome:
    """The same for a machine from which the image is kept: as if it weren't stored."""
    entry = outcome.entry
    return replace(outcome, image=None, problem=_not_stored(entry) if entry else outcome.problem)


def _not_stored(entry: Entry) -> Problem:
    name = f"{entry.os}/{entry.release}"
    return Problem(
        f"{name} {entry.arch} isn't stored.",
        next_step=f"Import it: slipway image select {name} --arch {entry.arch} --import",
    )


def _with_kernel(images: Sequence[StoredImage], kernel: str) -> StoredImage | None:
    """The image of a kernel's own name first, then one that answers to it."""
    able = [one for one in images if one.answers(kernel)]
    able.sort(key=lambda one: (not one.version, one.subarch != kernel))
    return able[0] if able else None


def _unbootable(
    entry: Entry, found: Sequence[StoredImage], chosen: StoredImage | None
) -> Problem | None:
    name = f"{entry.os}/{entry.release}"
    if not found:
        return _not_stored(entry)
    if chosen is None:
        kernels = sorted({one.subarch for one in found if one.version})
        return Problem(
            f"{name} {entry.arch} has no kernel {entry.subarch}.",
            expected=f"one of {', '.join(kernels)}" if kernels else "",
            next_step="Choose another kernel, or import this one.",
        )
    what = f"{name} {entry.arch}"
    if chosen.is_binned:
        return Problem(
            f"{what} is in the bin.",
            next_step=f"Restore it: slipway image restore {name} --arch {entry.arch}",
        )
    if not chosen.version:
        return Problem(
            f"{what} isn't published yet.", next_step="Wait for its import: slipway import watch"
        )
    missing = [ftype for ftype in (KERNEL, INITRD) if ftype not in chosen.files]
    if missing:
        return Problem(
            f"{what} can't be booted from the network: it has no {' and no '.join(missing)}.",
            next_step="Choose an image with a kernel, e.g. an Ubuntu release.",
        )
    if chosen.damaged:
        return Problem(
            f"{what} is damaged here: {', '.join(sorted(chosen.damaged))}.",
            next_step="Repair it: slipway import start",
        )
    if not all(_PLAIN_PATH.fullmatch(f"{chosen.folder}/{n}") for n in chosen.files.values()):
        return Problem(
            f"{what} has names that boot loaders can't read.",
            where=chosen.folder,
            next_step="Upload it under a name of letters, digits, dots and hyphens.",
        )
    return None
