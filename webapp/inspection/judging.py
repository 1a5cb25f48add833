# SPDX-License-Identifier: Apache-2.0
"""What was found, compared with what was declared: the rules, without reading any byte."""

from __future__ import annotations

import re
from dataclasses import dataclass

from webapp.inspection.kinds import KINDS
from webapp.inspection.report import MAX_DISK, NOTE, REJECT, WARN, Disk, Report, System, human
from webapp.inspection.unpacking import NAMED_ONLY

__all__ = ["MAX_DISK", "WORDS", "Declared", "judge"]

# What a file has to be for each file type: compression and contents (rule: file-types).
WORDS = {
    "tgz": ("gzip", "root"),
    "tbz": ("bzip2", "root"),
    "txz": ("xz", "root"),
    "ddtgz": ("gzip", "disk in a tar"),
    "ddtbz": ("bzip2", "disk in a tar"),
    "ddtxz": ("xz", "disk in a tar"),
    "ddtar": ("", "disk in a tar"),
    "ddbz2": ("bzip2", "disk"),
    "ddgz": ("gzip", "disk"),
    "ddxz": ("xz", "disk"),
    "ddraw": ("", "disk"),
}
_RIGHT = {shape: word for word, shape in WORDS.items()}
_STORED = {
    "root-tgz": "tgz",
    "root-tbz": "tbz",
    "root-txz": "txz",
    "root-dd": "ddtgz",
    "root-dd.tar": "ddtar",
    "root-dd.raw": "ddraw",
    "root-dd.tar.bz2": "ddtbz",
    "root-dd.tar.xz": "ddtxz",
    "root-dd.bz2": "ddbz2",
    "root-dd.gz": "ddgz",
    "root-dd.xz": "ddxz",
}
_OF_VMWARE = {"vmfs", "vmfsl", "vmkcore"}
_RECOMPRESS = "Recompress it with gzip or xz."
_LICENCE = (
    "Building custom Windows, RHEL and ESXi images requires Ubuntu Advantage (now Ubuntu Pro) and "
    "a vendor licence. Slipway doesn't check for either."
)
_LEADING = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True)
class Declared:
    """What the file is declared to be; "" for what isn't declared. filetype: short or stored."""

    filetype: str = ""
    os: str = ""
    release: str = ""
    architecture: str = ""

    @classmethod
    def of(cls, name: str, architecture: str, filetype: str) -> Declared:
        """What the name of an image, e.g. esxi/8.0 or web, says, with the rest."""
        os, slash, release = name.removeprefix("custom/").partition("/")
        return cls(filetype, os if slash else "", release if slash else os, architecture)

    @property
    def word(self) -> str:
        """The file type as clients write it, e.g. ddgz."""
        return _STORED.get(self.filetype, self.filetype)


def judge(report: Report, declared: Declared, *, is_head: bool) -> None:
    """Add the findings to the report, and what would be right."""
    shape = _shape(report)
    right = _RIGHT.get((report.compression, shape), "")
    _suggest(report, right)
    if not right:
        _refuse(report, shape)
    elif declared.word and declared.word != right and _is_certain(report):
        report.add(
            REJECT,
            "type",
            f"This isn't {declared.word}: it is {report.words}. Its type is {right}.",
            f"Choose {right}.",
            filetype=right,
        )
    if report.esxi is not None:
        _judge_esxi(report, declared)
    elif declared.os == "esxi" and right and _is_listed(report):
        _judge_not_esxi(report, declared, right)
    is_disk = shape in ("disk", "disk in a tar") and report.disk is not None
    if declared.os == "windows" and is_disk and not report.is_windows:
        report.add(
            WARN, "not-windows", "This disk has no Windows partition.",
            "Choose another name, or check what was built.",
        )  # fmt: skip
    elif is_disk and report.is_windows and declared.release and declared.os != "windows":
        name = f"windows/{declared.release}"
        report.add(WARN, "name", "This is Windows. Its name should begin with windows/, or the "
                   "installer treats it as Linux.", f"Name it {name}.", name=name)  # fmt: skip
    if is_disk and report.disk is not None:
        _judge_disk(report.disk, report)
    if is_disk and report.is_whole:
        _judge_system(report.system, report)
    if shape == "root" and report.root is not None:
        _judge_root(report, declared, is_head=is_head)
    if report.esxi or declared.os in ("esxi", "windows", "rhel"):
        report.add(NOTE, "licence", _LICENCE)


def _is_certain(report: Report) -> bool:
    """Whether what a tarball holds is known; one that is refused half-way doesn't tell."""
    is_refused = any(reason.severity == REJECT for reason in report.reasons)
    is_known = report.root is None or report.root.has_shell or bool(report.disk_in_tar)
    return is_known or not is_refused


def _shape(report: Report) -> str:
    if report.container == "disk":
        return "disk"
    if report.container == "tar":
        return "disk in a tar" if report.disk_in_tar else "root"
    return report.container


def _suggest(report: Report, right: str) -> None:
    if right:
        report.suggested["filetype"] = right
    if report.esxi is not None:
        version = report.esxi.version or report.esxi.layout.partition(".")[0]
        report.suggested |= {
            "name": f"esxi/{version}",
            "title": f"VMware ESXi {version}",
            "architecture": "amd64/generic",
        }
    elif report.root is not None and report.root.arch and not report.disk_in_tar:
        report.suggested["architecture"] = f"{report.root.arch}/generic"


def _refuse(report: Report, shape: str) -> None:
    if report.compression in NAMED_ONLY:
        report.add(
            REJECT, "compression", f"This is {report.compression}, which machines can't unpack.",
            _RECOMPRESS,
        )  # fmt: skip
    elif shape == "root":
        report.add(
            REJECT, "compression", "This tarball isn't compressed; there is no type for that.",
            "Compress it: gzip FILE, then choose tgz.",
        )  # fmt: skip
    elif shape in KINDS:
        is_explained = any(reason.severity == REJECT for reason in report.reasons)
        if not is_explained or shape in ("iso", "ova") or KINDS[shape].qemu:
            inside = " in a tarball" if report.root is not None and KINDS[shape].qemu else ""
            report.add(
                REJECT, shape, f"This is {KINDS[shape].name}{inside}. Machines can't boot it.",
                KINDS[shape].next_step,
            )  # fmt: skip


def _is_listed(report: Report) -> bool:
    """Whether the partitions are known: a list far into the disk isn't, from the head alone."""
    return report.disk is None or bool(report.disk.partitions) or report.is_whole


def _judge_not_esxi(report: Report, declared: Declared, right: str) -> None:
    """A file declared as ESXi without ESXi's layout. Deployed as ESXi, the host would be lost."""
    kinds = {p.kind for p in report.disk.partitions} if report.disk is not None else set()
    if right.startswith("dd") and kinds & _OF_VMWARE:
        report.add(
            WARN, "not-esxi", "This disk has VMware partitions, but not in the layout of ESXi 6, "
            "7 or later.", "Check what was built.",
        )  # fmt: skip
        return
    release = declared.release or "image"
    name = f"windows/{release}" if report.is_windows else f"custom/{release}"
    report.add(
        REJECT, "not-esxi", f"This isn't a VMware ESXi disk: it is {report.words}.",
        f"Name it {name}, or build an ESXi image with Packer.", name=name,
    )  # fmt: skip


def _judge_disk(disk: Disk, report: Report) -> None:
    if disk.sector_size != 512:
        report.add(
            NOTE, "sector-size",
            f"This disk was made for sectors of {disk.sector_size} bytes. It boots only on disks "
            "that have such sectors (4Kn).",
        )  # fmt: skip
    for number, name in sorted(report.system.unread.items()):
        report.add(
            NOTE, "not-read",
            f"Partition {number} is {name}, which isn't inspected: make sure that a file system "
            "on this disk has a /curtin folder.",
        )  # fmt: skip


def _judge_esxi(report: Report, declared: Declared) -> None:
    esxi = report.esxi
    if esxi is None:
        return
    if report.disk is None:
        return
    version = esxi.version or esxi.layout
    if (declared.os and declared.os != "esxi") or (declared.release and not declared.os):
        name = report.suggested["name"]
        report.add(WARN, "name", f"This is {esxi.words}. Its name should begin with esxi/.",
                   f"Name it {name}.", name=name)  # fmt: skip
    elif declared.os == "esxi" and esxi.version and not _is_of(declared.release, esxi.version):
        name = report.suggested["name"]
        report.add(WARN, "version", f"The name says {declared.release}, but this is {esxi.words}.",
                   f"Name it {name}.", name=name)  # fmt: skip
    if declared.architecture and not declared.architecture.startswith("amd64"):
        report.add(
            WARN, "architecture", "VMware ESXi runs on amd64 only.", "Choose amd64/generic.",
            architecture="amd64/generic",
        )  # fmt: skip
    if esxi.is_prepared is False:
        report.add(
            WARN, "not-prepared",
            "This is a plain ESXi disk: it will boot, but its network, storage and SSH won't be "
            "configured.",
            "Build it with Packer, which adds /curtin to the first partition.",
        )  # fmt: skip
    if _numbers(version) >= (7, 0, 2) or (esxi.layout == "7" and not esxi.version):
        report.add(
            WARN, "clone",
            "VMware hasn't supported cloned boot disks since 7.0 U2 (KB 84280): all hosts share "
            "the same VMFS UUIDs, which can corrupt shared storage.",
            "Use it where hosts share no storage, or reset the UUIDs after deployment.",
        )  # fmt: skip
    if esxi.layout.startswith("7") and report.disk.size < (32 << 30) and _numbers(version) >= (8,):
        report.add(WARN, "small", f"ESXi 8 and later need 32 GiB; this disk is "
                   f"{human(report.disk.size)}.", "Build it with a 32 GiB disk.")  # fmt: skip
    # It can't be seen in the disk itself (rule: esxi-known-password).
    report.add(
        NOTE, "password",
        "Images built from the Packer template use a publicly known root password unless the "
        "kickstart was changed. With Secure Boot, the first-boot scripts don't run.",
    )  # fmt: skip


def _judge_system(system: System, report: Report) -> None:
    if system.has_curtin is False:
        report.add(
            WARN, "not-prepared",
            "No partition of this disk has a /curtin folder: the installer writes the disk, then "
            "doesn't find the system on it, and the deployment fails.",
            "Build it with Packer, which adds /curtin. An empty folder is enough if the "
            "installer's own hooks will do.",
        )  # fmt: skip
    if system.has_cloud_init is False:
        report.add(
            WARN, "no-cloud-init",
            "cloudbase-init is missing, so users, keys and network won't be configured.",
            "Add it unless this is intentional.",
        )  # fmt: skip


def _judge_root(report: Report, declared: Declared, *, is_head: bool) -> None:
    root = report.root
    if root is None:
        return
    wanted = declared.architecture.partition("/")[0]
    if root.arch and wanted and root.arch != wanted:
        report.add(
            REJECT, "architecture", f"Its shell is for {root.arch}, not {wanted}.",
            f"Choose {root.arch}/generic.", architecture=f"{root.arch}/generic",
        )  # fmt: skip
    if is_head or not report.is_whole:
        return
    if not root.has_shell:
        report.add(
            REJECT, "no-root", "No /bin/sh found: this isn't a root file system.",
            "Pack the root itself: tar -czf root.tgz -C ROOT .",
        )  # fmt: skip
        return
    for has, code, words in (
        (
            root.has_kernel,
            "no-kernel",
            "There is no kernel in /boot: the machine installs one, or doesn't boot.",
        ),
        (root.has_initrd, "no-initrd", "There is no initial RAM disk in /boot."),
        (
            root.has_cloud_init,
            "no-cloud-init",
            "cloud-init is missing, so users, keys and network won't be configured.",
        ),
    ):
        if not has:
            report.add(WARN, code, words, "Add it unless this is intentional.")
    if not root.has_curtin_hooks and declared.os not in ("", "ubuntu"):
        report.add(
            NOTE,
            "no-hooks",
            "There are no /curtin hooks: the installer treats it like any Linux.",
        )


def _is_of(release: str, version: str) -> bool:
    """Whether a release, e.g. 8.0 or 8.0.2-lab, fits a version, e.g. 8.0.2."""
    match = _LEADING.match(release)
    if match is None:
        return True
    named, found = match[0].split("."), version.split(".")
    return found[: len(named)] == named


def _numbers(version: str) -> tuple[int, ...]:
    match = _LEADING.match(version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
