# SPDX-License-Identifier: Apache-2.0
"""What inspection found in a file, as ``/api/v1`` returns it. Sizes in bytes."""

from __future__ import annotations

from pydantic import Field

from webapp.api.v1.schemas import PartialModel
from webapp.severity import Severity


class ReasonItem(PartialModel):
    """A finding. severity: error, warn or info. fix: the details that would be right, by name."""

    severity: Severity = Severity.INFO
    code: str = ""
    message: str = ""
    fix: dict[str, str] = Field(default_factory=dict)
    next_step: str = ""


class PartitionItem(PartialModel):
    """A partition of a disk. purpose: what it's for, in words."""

    number: int = 0
    name: str = ""
    kind: str = ""
    first: int = 0
    size: int = 0
    purpose: str = ""


class DiskItem(PartialModel):
    """A partitioned disk. table: gpt or mbr. size: 0 for an MBR, whose table doesn't hold it."""

    table: str = ""
    size: int = 0
    sector_size: int = 512
    partitions: list[PartitionItem] = Field(default_factory=list)


class EsxiItem(PartialModel):
    """A VMware ESXi disk. is_prepared: for deployment; null if unknown."""

    layout: str = ""
    version: str = ""
    build: str = ""
    is_prepared: bool | None = None


class SystemItem(PartialModel):
    """An operating system on a disk. kind: windows, linux or empty.

    has_curtin, has_cloud_init: null if unknown. unread: what partitions hold that can't be read.
    """

    kind: str = ""
    has_curtin: bool | None = None
    has_cloud_init: bool | None = None
    unread: dict[int, str] = Field(default_factory=dict)


class RootItem(PartialModel):
    """A root file system in a tarball. arch: of its shell."""

    entries: int = 0
    arch: str = ""
    has_shell: bool = False
    has_kernel: bool = False
    has_initrd: bool = False
    has_cloud_init: bool = False
    has_curtin_hooks: bool = False


class ReportItem(PartialModel):
    """What was found in a file; no fields before it was inspected.

    verdict: ok, warn, reject, or unknown if it couldn't be inspected. words: what it is.
    raw_size: after decompression, as far as it was read. is_whole: every byte was inspected.
    forecast: size of the raw disk it converts to, 0 if unknown. suggested: the details that
    would be right. disk_in_tar: name of the disk in a tarball. has_root: whether a file that is
    converted holds a root tarball, null if unknown.
    """

    verdict: str = ""
    words: str = ""
    compression: str = ""
    container: str = ""
    raw_size: int = 0
    is_whole: bool = False
    disk: DiskItem | None = None
    disk_in_tar: str = ""
    esxi: EsxiItem | None = None
    system: SystemItem = Field(default_factory=SystemItem)
    root: RootItem | None = None
    reasons: list[ReasonItem] = Field(default_factory=list)
    suggested: dict[str, str] = Field(default_factory=dict)
    forecast: int = 0
    has_root: bool | None = None


class OriginalItem(PartialModel):
    """The file that was sent, before it was converted; no fields when it wasn't. kinds: its
    containers, from the outside in.
    """

    sha256: str = ""
    size: int = 0
    kinds: list[str] = Field(default_factory=list)
