# SPDX-License-Identifier: Apache-2.0
"""Whether a machine's disks are large enough for an ESXi version (rule: esxi-storage)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from webapp.severity import Severity
from webapp.vmware.model import ERROR, WARNING

GIB = 1 << 30
VERSIONS = ("6.7", "7", "8", "9")
LAYOUTS = ("default", "vmfs6", "vmfs7", "linux")


@dataclass(frozen=True)
class Target:
    """A machine's boot disk and what is planned on it.

    disk: bytes. layout: of its storage; default lets ESXi decide. datastores: how many
    are planned, None if that isn't known. has_serial: hosts find disks by serial number.
    """

    version: str
    disk: int
    layout: str = "default"
    datastores: int | None = None
    has_serial: bool = True
    is_nvme: bool = False
    partitions_changed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Remark:
    """One finding. severity: ERROR, WARNING or NOTE."""

    severity: Severity
    code: str
    message: str
    fix: str = ""


@dataclass(frozen=True)
class StorageCheck:
    """The answer. reserved: partitions that can't be changed; changeable: the one that can."""

    minimum: int
    reserved: tuple[int, ...]
    changeable: int
    datastore: int
    remarks: tuple[Remark, ...] = field(default=())

    @property
    def is_fine(self) -> bool:
        """Whether there are no errors."""
        return all(remark.severity != ERROR for remark in self.remarks)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "is_fine": self.is_fine,
            "minimum": self.minimum,
            "reserved": list(self.reserved),
            "changeable": self.changeable,
            "datastore": self.datastore,
            "remarks": [vars(remark) for remark in self.remarks],
        }


def check(target: Target) -> StorageCheck:
    """Check a machine's storage before it is deployed."""
    major = _major(target.version)
    is_old = major == 6
    minimum = (10 if is_old else 32) * GIB
    reserved = (1, 2, 5, 6, 7, 8, 9) if is_old else (1, 5, 6, 7)
    changeable = 3 if is_old else 8
    remarks: list[Remark] = []
    if major not in (6, 7, 8, 9):
        remarks.append(
            Remark(ERROR, "version", f"ESXi {target.version[:20]} isn't supported.",
                   "Choose 6.7, 7, 8 or 9.")
        )  # fmt: skip
    if target.version.startswith("6.5"):
        remarks.append(
            Remark(ERROR, "version", "ESXi 6.5 keeps the MAC address of the build machine.",
                   "Use 6.7 or later.")
        )  # fmt: skip
    if target.disk < minimum:
        remarks.append(
            Remark(ERROR, "size", f"The boot disk is {target.disk / GIB:.0f} GiB; ESXi "
                   f"{target.version} needs {minimum // GIB} GiB.", "Use a larger disk.")
        )  # fmt: skip
    remarks += _layout(target, is_old=is_old)
    for number in target.partitions_changed:
        if number in reserved:
            remarks.append(
                Remark(ERROR, "reserved", f"Partition {number} is reserved by ESXi; only "
                       f"partition {changeable} can be changed.", f"Leave {number} alone.")
            )  # fmt: skip
    if target.datastores == 0 and target.layout in ("vmfs6", "vmfs7"):
        remarks.append(
            Remark(ERROR, "datastore", "A datastore must be defined when deploying VMware ESXi.",
                   f"Define one, e.g. datastore1 on partition {changeable}.")
        )  # fmt: skip
    if not target.has_serial:
        remarks.append(
            Remark(ERROR, "serial", "The disk has no serial number. Hosts find disks by it, so "
                   "the datastore would be missing.", "Give the disk a serial number.")
        )  # fmt: skip
    if target.is_nvme:
        remarks.append(
            Remark(WARNING, "nvme", "Hosts don't always find NVMe disks by their serial number.",
                   "Check the datastores after the first deployment.")
        )  # fmt: skip
    if major >= 7:  # (rule: esxi-clones)
        remarks.append(
            Remark(WARNING, "clone", "VMware doesn't support cloned boot disks since 7.0 U2: "
                   "all hosts share the same VMFS UUIDs.",
                   "Don't use it for hosts with shared storage.")
        )  # fmt: skip
    used = minimum if not is_old else 8 * GIB
    return StorageCheck(minimum, reserved, changeable, max(0, target.disk - used), tuple(remarks))


def _layout(target: Target, *, is_old: bool) -> list[Remark]:
    right = "vmfs6" if is_old else "vmfs7"
    if target.layout == "linux":
        return [
            Remark(
                Severity.INFO, "linux", "A Linux layout is accepted: only datastore1 is enlarged."
            )
        ]
    if target.layout in ("vmfs6", "vmfs7") and target.layout != right:
        return [
            Remark(ERROR, "layout", f"The layout {target.layout} doesn't fit ESXi "
                   f"{target.version}: its datastore is on another partition.", f"Use {right}.")
        ]  # fmt: skip
    if target.layout not in LAYOUTS:
        return [
            Remark(ERROR, "layout", f"{target.layout[:40]!r} isn't a layout that ESXi can have.",
                   f"Use {right}.")
        ]  # fmt: skip
    return []


def _major(version: str) -> int:
    match = re.match(r"\d{1,3}", version)
    return int(match[0]) if match else 0
