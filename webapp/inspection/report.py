# SPDX-License-Identifier: Apache-2.0
"""What was found in a file, and what that means for what was declared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

REJECT, WARN, NOTE = "reject", "warn", "note"


@dataclass(frozen=True)
class Reason:
    """Something worth saying. grade: reject, warn or note.

    fix: the declaration that would be right, field by field; {} where none is.
    next_step: what a person can do when no declaration mends it.
    """

    grade: str
    code: str
    message: str
    fix: dict[str, str] = field(default_factory=dict)
    next_step: str = ""


_KINDS = {
    "efi": "EFI system",
    "basic": "data",
    "vmfs": "datastore (VMFS)",
    "vmfsl": "ESX-OSData (VMFS-L)",
    "vmkcore": "diagnostic",
    "linux": "Linux",
    "msr": "Microsoft reserved",
    "ntfs": "NTFS",
    "bios": "BIOS boot",
}
# What ESXi keeps in partitions whose kind does not say it (spec esxi b.2): always, and in 6.x.
_BANKS = {5: "boot bank 1", 6: "boot bank 2"}
_ROLES_6 = {2: "scratch", 7: "core dump", 8: "locker", 9: "core dump"} | _BANKS


@dataclass(frozen=True)
class Partition:
    """A partition in bytes. kind: efi, basic, vmfs, vmfsl, vmkcore, linux, msr, swap or other."""

    number: int
    name: str
    kind: str
    first: int
    size: int


@dataclass
class Disk:
    """A partitioned disk. size: what its table says, in bytes; table: gpt or mbr."""

    table: str
    size: int
    partitions: list[Partition] = field(default_factory=list)


@dataclass
class Esxi:
    """A VMware ESXi disk. layout: 6, 7 or 7.0 (early); is_prepared: None while not known."""

    layout: str
    version: str = ""
    build: str = ""
    is_prepared: bool | None = None

    @property
    def words(self) -> str:
        """Its name with all that is known."""
        name = f"VMware ESXi {self.version or self.layout + '.x'}"
        if self.build:
            name += f" build {self.build}"
        if self.is_prepared is None:
            return name
        return f"{name}, {'' if self.is_prepared else 'not '}prepared for deployment"


@dataclass
class System:
    """An operating system on a disk. kind: windows, linux or "".

    has_curtin: whether a partition holds /curtin; None where nobody could see.
    """

    kind: str = ""
    has_curtin: bool | None = None
    has_cloud_init: bool | None = None

    @property
    def words(self) -> str:
        """Its name with all that is known."""
        name = self.kind.capitalize()
        if self.has_curtin is None:
            return name
        return f"{name}, {'' if self.has_curtin else 'not '}prepared for deployment"


@dataclass
class Root:
    """A root file system in a tarball. arch: of its shell, "" while not known."""

    entries: int = 0
    arch: str = ""
    has_shell: bool = False
    has_kernel: bool = False
    has_initrd: bool = False
    has_cloud_init: bool = False
    has_curtin_hooks: bool = False


@dataclass
class Report:
    """Everything about a file. raw_size: bytes after decompression that were seen.

    is_whole: every byte was looked at. disk_in_tar: the name of the disk in a tarball.
    """

    compression: str = ""
    container: str = ""
    raw_size: int = 0
    is_whole: bool = False
    disk: Disk | None = None
    disk_in_tar: str = ""
    esxi: Esxi | None = None
    system: System = field(default_factory=System)
    root: Root | None = None
    reasons: list[Reason] = field(default_factory=list)
    suggested: dict[str, str] = field(default_factory=dict)

    def purpose(self, part: Partition) -> str:
        """What a partition of its disk is for, in words."""
        roles = {} if self.esxi is None else _ROLES_6 if self.esxi.layout == "6" else _BANKS
        if part.kind in ("basic", "vmkcore") and part.number in roles:
            return roles[part.number]
        return _KINDS.get(part.kind, part.kind)

    @property
    def verdict(self) -> str:
        """ok, warn or reject: the worst of the reasons."""
        grades = {reason.grade for reason in self.reasons}
        return REJECT if REJECT in grades else WARN if WARN in grades else "ok"

    @property
    def is_windows(self) -> bool:
        """Whether it is a disk with a partition or a file system that only Windows makes."""
        kinds = {p.kind for p in self.disk.partitions} if self.disk is not None else set()
        return self.system.kind == "windows" or bool(kinds & {"ntfs", "msr"})

    @property
    def words(self) -> str:
        """What it is, as one would say it."""
        parts = [self.compression or "not compressed"]
        if self.disk is not None:
            size = f" of {human(self.disk.size)}" if self.disk.size else ""
            inside = f"tar with {self.disk_in_tar}, " if self.disk_in_tar else ""
            parts.append(f"{inside}{self.disk.table.upper()} disk{size}")
        elif self.root is not None and self.root.has_shell:
            arch = f" for {self.root.arch}" if self.root.arch else ""
            parts.append(f"root file system{arch} in a tarball")
        else:
            parts.append(_NAMES.get(self.container, self.container or "nothing that is known"))
        if self.esxi is not None:
            parts.append(self.esxi.words)
        elif self.system.kind:
            parts.append(self.system.words)
        elif self.is_windows:
            parts.append("Windows")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        made = {**asdict(self), "verdict": self.verdict, "words": self.words}
        if self.disk is not None:
            for part, told in zip(self.disk.partitions, made["disk"]["partitions"], strict=True):
                told["purpose"] = self.purpose(part)
        return made

    def say(self, grade: str, code: str, message: str, next_step: str = "", **fix: str) -> None:
        """Add a reason, each code once."""
        if all(reason.code != code for reason in self.reasons):
            self.reasons.append(Reason(grade, code, message, fix, next_step))


_NAMES = {
    "elf": "a program",
    "ext4": "an ext4 file system without a partition table",
    "empty": "nothing at all",
    "iso": "an ISO image of a CD",
    "ova": "an OVA appliance",
    "qcow2": "a QEMU qcow2 disk",
    "squashfs": "a squashfs file system",
    "tar": "a tarball",
    "text": "text",
    "unknown": "bytes of no known kind",
    "vhdx": "a Hyper-V VHDX disk",
    "vmdk": "a VMware VMDK disk",
    "wim": "a Windows WIM image",
    "xfs": "an XFS file system without a partition table",
    "zip": "a zip archive",
}


def human(size: int) -> str:
    """Bytes in binary units, as disks of machines are sized."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.0f} TiB" if value == int(value) else f"{value:.1f} TiB"
