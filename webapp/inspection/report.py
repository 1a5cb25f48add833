# SPDX-License-Identifier: Apache-2.0
"""What was found in a file, and what that means for the declaration."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from webapp.inspection.kinds import KINDS
from webapp.inspection.unpacking import NAMED_ONLY
from webapp.severity import Severity

MAX_DISK = 256 << 30  # bytes; a larger disk image is a mistake
REJECT, WARN, NOTE = Severity.ERROR, Severity.WARN, Severity.INFO


@dataclass(frozen=True)
class Reason:
    """A finding. severity: REJECT, WARN or NOTE.

    fix: the declaration that would be right, field by field; {} when there is none.
    next_step: what a person can do about it.
    """

    severity: Severity
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
    "extended": "extended",
    "lvm": "LVM",
    "raid": "Linux RAID",
}
# What ESXi keeps where the type doesn't tell (rule: esxi-disk-layout): always, and in 6.x.
_BANKS = {5: "boot bank 1", 6: "boot bank 2"}
_ROLES_6 = {2: "scratch", 7: "core dump", 8: "locker", 9: "core dump"} | _BANKS


@dataclass(frozen=True)
class Partition:
    """A partition in bytes. kind: efi, linux, vmfs, swap, other, ...."""

    number: int
    name: str
    kind: str
    first: int
    size: int


@dataclass
class Disk:
    """A partitioned disk. size: what its table says, in bytes, 0 for an MBR; table: gpt or mbr.

    sector_size: bytes of the sectors it was made for.
    """

    table: str
    size: int
    sector_size: int = 512
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

    has_curtin: whether a partition holds /curtin; None when that can't be seen.
    unread: partitions by number that hold what isn't read: btrfs, LVM or LUKS.
    """

    kind: str = ""
    has_curtin: bool | None = None
    has_cloud_init: bool | None = None
    unread: dict[int, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Its name with all that is known."""
        name = self.kind.capitalize()
        if self.unread:
            name += f" on {' and '.join(sorted(set(self.unread.values())))}"
        if self.has_curtin is None:
            return name
        return f"{name}, {'' if self.has_curtin else 'not '}prepared for deployment"


@dataclass
class Root:
    """A root file system in a tarball. arch: of its shell, "" when not known."""

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

    forecast: bytes of the raw disk that a convertible file becomes, 0 when unknown.
    has_root: whether what machines can't unpack begins like a root tarball; None when unknown.
    is_whole: every byte was inspected. disk_in_tar: the name of the disk in a tarball.
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
    forecast: int = 0
    has_root: bool | None = None

    def purpose(self, part: Partition) -> str:
        """What a partition of its disk is for, in words."""
        roles = {} if self.esxi is None else _ROLES_6 if self.esxi.layout == "6" else _BANKS
        if part.kind in ("basic", "vmkcore") and part.number in roles:
            return roles[part.number]
        name = _KINDS.get(part.kind, part.kind)
        unread = self.system.unread.get(part.number, name)
        return name if unread == name else f"{name} ({unread})"

    @property
    def virtual_format(self) -> str:
        """qemu-img's name for the virtual machine's disk it is; "" when it isn't one."""
        if self.container == "ova":
            return "vmdk"
        return KINDS[self.container].qemu if self.container in KINDS else ""

    @property
    def verdict(self) -> str:
        """ok, warn or reject: the worst of the reasons."""
        found = {reason.severity for reason in self.reasons}
        return "reject" if REJECT in found else "warn" if WARN in found else "ok"

    @property
    def is_windows(self) -> bool:
        """Whether it is a disk with a partition or a file system that only Windows makes."""
        kinds = {p.kind for p in self.disk.partitions} if self.disk is not None else set()
        return self.system.kind == "windows" or bool(kinds & {"ntfs", "msr"})

    @property
    def words(self) -> str:
        """What it is, in words."""
        parts = [self.compression or "not compressed"]
        if self.compression in NAMED_ONLY:
            return self.compression
        if self.disk is not None:
            size = f" of {human(self.disk.size)}" if self.disk.size else ""
            inside = f"tar with {self.disk_in_tar}, " if self.disk_in_tar else ""
            parts.append(f"{inside}{self.disk.table.upper()} disk{size}")
        elif self.root is not None and self.root.has_shell:
            arch = f" for {self.root.arch}" if self.root.arch else ""
            parts.append(f"root file system{arch} in a tarball")
        else:
            parts.append(KINDS[self.container].name if self.container in KINDS else "unknown")
        if self.esxi is not None:
            parts.append(self.esxi.words)
        elif self.system.kind:
            parts.append(self.system.words)
        elif self.is_windows:
            parts.append("Windows")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        values = {**asdict(self), "verdict": self.verdict, "words": self.words}
        if self.disk is not None:
            for part, shown in zip(self.disk.partitions, values["disk"]["partitions"], strict=True):
                shown["purpose"] = self.purpose(part)
        return values

    def add(
        self, severity: Severity, code: str, message: str, next_step: str = "", **fix: str
    ) -> None:
        """Add a reason; each code counts once."""
        if all(reason.code != code for reason in self.reasons):
            self.reasons.append(Reason(severity, code, message, fix, next_step))


def human(size: int) -> str:
    """Bytes in binary units, as disks are sized."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.0f} TiB" if value == int(value) else f"{value:.1f} TiB"
