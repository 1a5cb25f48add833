# SPDX-License-Identifier: Apache-2.0
"""What was found against what was declared: the rules, without looking at any byte."""

from __future__ import annotations

import re
from dataclasses import dataclass

from webapp.inspection.report import NOTE, REJECT, WARN, Report, System, human

MAX_DISK = 256 << 30  # bytes; a disk image larger than this is a mistake
# What a file has to be for each word: compression and container (spec api section 5).
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
_BARE = "Put it into a disk with a partition table, or pack its files into a tarball."
_USELESS = {
    "elf": "Programs are no images.",
    "empty": "Choose the file that was built.",
    "ext4": _BARE,
    "iso": "This is an installer. Build an image with packer first; see the VMware page.",
    "ova": "Convert its disk: tar -xf FILE, then qemu-img convert -O raw DISK.vmdk disk.raw.",
    "qcow2": "Convert it: qemu-img convert -O raw FILE disk.raw, then gzip it.",
    "squashfs": "Squashed roots come from boot sources. Unpack it into a tarball: "
    "unsquashfs, then tar -czf root.tgz -C squashfs-root .",
    "text": "Choose the file that was built.",
    "unknown": "Choose the file that was built; it may be encrypted or not an image at all.",
    "vhdx": "Convert it: qemu-img convert -O raw FILE disk.raw, then gzip it.",
    "vmdk": "Convert it: qemu-img convert -O raw FILE disk.raw, then gzip it.",
    "wim": "Apply it to a disk first; MAAS-style images of Windows are disks.",
    "xfs": _BARE,
    "zip": "Unpack it, and upload what is in it.",
}
_LICENCE = (
    "Building custom Windows, RHEL and ESXi images needs Ubuntu Advantage (now Ubuntu Pro) and a "
    "licence of the vendor."
)
_LEADING = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True)
class Declared:
    """What somebody said it is; "" where nothing was said. filetype: either kind of word."""

    filetype: str = ""
    os: str = ""
    release: str = ""
    architecture: str = ""

    @classmethod
    def of(cls, name: str, architecture: str, filetype: str) -> Declared:
        """What the name of an image, such as esxi/8.0 or web, says with the rest."""
        os, slash, release = name.removeprefix("custom/").partition("/")
        return cls(filetype, os if slash else "", release if slash else os, architecture)

    @property
    def word(self) -> str:
        """The file type as clients say it."""
        return _STORED.get(self.filetype, self.filetype)


def judge(report: Report, declared: Declared, *, is_head: bool) -> None:
    """Add the reasons for and against, and what would be right."""
    shape = _shape(report)
    right = _RIGHT.get((report.compression, shape), "")
    _suggest(report, right)
    if not right:
        _refuse(report, shape)
    elif declared.word and declared.word != right:
        report.say(
            REJECT,
            "type",
            f"This is no {declared.word}: it is {report.words}. Its type is {right}.",
            f"Choose {right}.",
            filetype=right,
        )
    if report.esxi is not None:
        _judge_esxi(report, declared)
    elif declared.os == "esxi" and right:
        grade = REJECT if not right.startswith("dd") else WARN
        report.say(
            grade, "not-esxi", f"This is no VMware ESXi disk: it is {report.words}.",
            "Give it another name, or build an ESXi image with packer.",
        )  # fmt: skip
    is_disk = shape in ("disk", "disk in a tar") and report.disk is not None
    if declared.os == "windows" and is_disk and not report.is_windows:
        report.say(
            WARN, "not-windows", "There is no Windows partition on this disk.",
            "Give it another name, or look at what was built.",
        )  # fmt: skip
    elif is_disk and report.is_windows and declared.release and declared.os != "windows":
        name = f"windows/{declared.release}"
        report.say(WARN, "name", "This is Windows; its name should begin with windows/, or the "
                   "installer treats it as Linux.", f"Call it {name}.", name=name)  # fmt: skip
    if is_disk and report.is_whole:
        _judge_system(report.system, report)
    if shape == "root" and report.root is not None:
        _judge_root(report, declared, is_head=is_head)
    if report.esxi or declared.os in ("esxi", "windows", "rhel"):
        report.say(NOTE, "licence", _LICENCE)


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
    if report.compression == "zstd":
        report.say(
            REJECT, "compression", "zstd is not among the kinds that machines unpack.",
            "Pack it anew with gzip or xz.",
        )  # fmt: skip
    elif shape == "root":
        report.say(
            REJECT, "compression", "This tarball is not compressed; there is no type for that.",
            "Compress it: gzip FILE, then choose tgz.",
        )  # fmt: skip
    elif shape in _USELESS:
        is_told = any(reason.grade == REJECT for reason in report.reasons)
        if not is_told or shape in ("iso", "ova"):
            report.say(REJECT, shape, f"This is {report.words}, no image.", _USELESS[shape])


def _judge_esxi(report: Report, declared: Declared) -> None:
    esxi = report.esxi
    if esxi is None:
        return
    if report.disk is None:
        return
    version = esxi.version or esxi.layout
    if (declared.os and declared.os != "esxi") or (declared.release and not declared.os):
        name = report.suggested["name"]
        report.say(WARN, "name", f"This is {esxi.words}; its name should begin with esxi/.",
                   f"Call it {name}.", name=name)  # fmt: skip
    elif declared.os == "esxi" and esxi.version and not _is_of(declared.release, esxi.version):
        name = report.suggested["name"]
        report.say(WARN, "version", f"The name says {declared.release}, but this is {esxi.words}.",
                   f"Call it {name}.", name=name)  # fmt: skip
    if declared.architecture and not declared.architecture.startswith("amd64"):
        report.say(
            WARN, "architecture", "VMware ESXi runs on amd64 only.", "Choose amd64/generic.",
            architecture="amd64/generic",
        )  # fmt: skip
    if esxi.is_prepared is False:
        report.say(
            WARN, "not-prepared",
            "A raw ESXi disk: it will boot, but gets no network, storage or SSH set-up.",
            "Build it with packer, which adds /curtin to its first partition.",
        )  # fmt: skip
    if _numbers(version) >= (7, 0, 2) or (esxi.layout == "7" and not esxi.version):
        report.say(
            WARN, "clone",
            "VMware does not support cloned boot disks since 7.0 U2 (KB 84280): all hosts get the "
            "same VMFS identities, and shared storage may be damaged.",
            "Use it where hosts share no storage, or reset the identities after deployment.",
        )  # fmt: skip
    if esxi.layout.startswith("7") and report.disk.size < (32 << 30) and _numbers(version) >= (8,):
        report.say(WARN, "small", f"ESXi 8 and later want 32 GiB; this disk has "
                   f"{human(report.disk.size)}.", "Build it with a disk of 32 GiB.")  # fmt: skip
    report.say(
        NOTE, "password",
        "Images of the packer template have a root password that everybody knows, unless the "
        "kickstart was changed; with Secure Boot the first-boot scripts do not run.",
    )  # fmt: skip


def _judge_system(system: System, report: Report) -> None:
    if system.has_curtin is False:
        report.say(
            WARN, "not-prepared",
            "No partition of this disk holds /curtin: the installer writes it, does not find the "
            "system on it, and the deployment fails.",
            "Build it with packer, which adds /curtin; an empty folder is enough where the "
            "installer's own hooks will do.",
        )  # fmt: skip
    if system.has_cloud_init is False:
        report.say(
            WARN, "no-cloud-init",
            "There is no cloudbase-init: nobody sets up users, keys or network.",
            "Add it, unless that is meant.",
        )  # fmt: skip


def _judge_root(report: Report, declared: Declared, *, is_head: bool) -> None:
    root = report.root
    if root is None:
        return
    wanted = declared.architecture.partition("/")[0]
    if root.arch and wanted and root.arch != wanted:
        report.say(
            REJECT, "architecture", f"Its shell is for {root.arch}, not for {wanted}.",
            f"Choose {root.arch}/generic.", architecture=f"{root.arch}/generic",
        )  # fmt: skip
    if is_head or not report.is_whole:
        return
    if not root.has_shell:
        report.say(
            REJECT, "no-root", "There is no /bin/sh in this tarball: it is no root file system.",
            "Pack the root itself: tar -czf root.tgz -C ROOT .",
        )  # fmt: skip
        return
    for has, code, words in (
        (
            root.has_kernel,
            "no-kernel",
            "no kernel in /boot: the machine installs one, or does not boot",
        ),
        (root.has_initrd, "no-initrd", "no initial RAM disk in /boot"),
        (
            root.has_cloud_init,
            "no-cloud-init",
            "no cloud-init: nobody sets up users, keys or network",
        ),
    ):
        if not has:
            report.say(WARN, code, f"There is {words}.", "Add it, unless that is meant.")
    if not root.has_curtin_hooks and declared.os not in ("", "ubuntu"):
        report.say(
            NOTE,
            "no-hooks",
            "There are no /curtin hooks: the installer does what it does for Linux.",
        )


def _is_of(release: str, version: str) -> bool:
    """Whether a name such as 8.0 or 8.0.2-lab fits a version such as 8.0.2."""
    match = _LEADING.match(release)
    if match is None:
        return True
    said, is_ = match[0].split("."), version.split(".")
    return is_[: len(said)] == said


def _numbers(version: str) -> tuple[int, ...]:
    match = _LEADING.match(version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
