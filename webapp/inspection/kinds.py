# SPDX-License-Identifier: Apache-2.0
"""Kinds of files that aren't images machines can boot: how to tell, and what to do with them.

Sources: the formats' own documents (qcow2, QED and VMDK in QEMU's docs/interop; VHD
and VHDX of Microsoft; ECMA-119 for ISO 9660; LVM2's and btrfs's on-disk formats).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from webapp.inspection import ext4, fat, ntfs, unpacking, vhdx, xfs

BTRFS_AT, BTRFS = 0x10040, b"_BHRfS_M"
SECTOR, _PAGES = 512, (4 << 10, 16 << 10, 64 << 10)
VHD_FOOTER = 512  # bytes at the end of every VHD, and all that a fixed one has
LVM_AT = (0, 512, 1024, 1536)
_CONVERT = "Convert it: qemu-img convert -f {} -O raw FILE disk.raw, then gzip disk.raw."
_BARE = "Write it to a partition of a disk, or pack its files into a tarball."


# Where a disk says how large it is: place, byte order and unit.
_SIZES: dict[str, tuple[int, Literal["big", "little"], int]] = {
    "qcow": (24, "big", 1),
    "qcow2": (24, "big", 1),
    "qed": (48, "little", 1),
    "vdi": (0x170, "little", 1),
    "vhd": (48, "big", 1),
    "vmdk": (12, "little", 512),
}


@dataclass(frozen=True)
class Kind:
    """name: what it is, in words. next_step: how it becomes an image.

    qemu: the name qemu-img has for it; "" when it isn't a disk of a virtual machine.
    """

    name: str
    next_step: str
    qemu: str = ""


def _virtual(name: str, qemu: str) -> Kind:
    return Kind(name, _CONVERT.format(qemu), qemu)


KINDS = {
    "7z": Kind("a 7-Zip archive", "Unpack it and upload what it contains."),
    "btrfs": Kind("a btrfs file system without a partition table", _BARE),
    "elf": Kind("an executable", "Choose the image that was built."),
    "empty": Kind("an empty file", "Choose the image that was built."),
    "ext4": Kind("an ext4 file system without a partition table", _BARE),
    "f2fs": Kind("an F2FS file system without a partition table", _BARE),
    "fat": Kind("a FAT file system without a partition table", _BARE),
    "iso": Kind(
        "an ISO image, not a disk image",
        "ISOs are installers. Build an image with Packer first; see the VMware page for ESXi.",
    ),
    "luks": Kind("an encrypted LUKS volume", "Choose the image as it was before encryption."),
    "lvm": Kind("an LVM physical volume without a partition table", _BARE),
    "ova": Kind(
        "an OVA appliance",
        "Convert its disk: tar -xf FILE, then qemu-img convert -f vmdk -O raw DISK.vmdk disk.raw, "
        "then gzip disk.raw.",
    ),
    "ntfs": Kind("an NTFS file system without a partition table", _BARE),
    "packed": Kind("a compressed file inside another", "Unpack it once: it is compressed twice."),
    "qcow": _virtual("a QEMU qcow (version 1) disk", "qcow"),
    "qcow2": _virtual("a QEMU qcow2 disk", "qcow2"),
    "qed": _virtual("a QEMU QED disk", "qed"),
    "squashfs": Kind(
        "a SquashFS file system",
        "SquashFS images aren't accepted. Unpack it into a tarball: unsquashfs FILE, then "
        "tar -czf root.tgz -C squashfs-root .",
    ),
    "swap": Kind("a Linux swap area", "Choose the image that was built."),
    "tar": Kind("a tarball", "Compress it: gzip FILE, then choose tgz."),
    "text": Kind("a text file", "Choose the image that was built."),
    "unknown": Kind(
        "unknown contents", "Choose the image that was built; this may be encrypted or damaged."
    ),
    "vdi": _virtual("a VirtualBox VDI disk", "vdi"),
    "vhd": _virtual("a Hyper-V VHD disk", "vpc"),
    "vhdx": _virtual("a Hyper-V VHDX disk", "vhdx"),
    "vmdk": _virtual("a VMware VMDK disk", "vmdk"),
    "wim": Kind("a Windows WIM image", "Apply it to a disk first, then upload that disk."),
    "xfs": Kind("an XFS file system without a partition table", _BARE),
    "zip": Kind("a zip archive", "Unpack it and upload what it contains."),
}
_MAGIC = (
    (0, b"hsqs", "squashfs"),
    (0, b"QFI\xfb\0\0\0\1", "qcow"),
    (0, b"QFI\xfb", "qcow2"),
    (0, b"QED\0", "qed"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"MSWIM\0\0\0", "wim"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"\x7fELF", "elf"),
    (0, b"LUKS\xba\xbe", "luks"),
    (32769, b"CD001", "iso"),
)


def archive_or_virtual_disk(head: bytes) -> str:
    """The kind of a file that is never an image itself; "" when it isn't known."""
    for place, magic, kind in _MAGIC:
        if head[place : place + len(magic)] == magic:
            return kind
    return ""


def volume_kind(head: bytes) -> str:
    """The kind of a volume that begins here, e.g. btrfs, ext4, luks, lvm or xfs; "" for others.

    btrfs needs the first 64 KiB and 128 bytes to show.
    """
    if head[:6] == b"LUKS\xba\xbe":
        return "luks"
    if any(head[at : at + 8] == b"LABELONE" and head[at + 24 : at + 32] == b"LVM2 001"
           for at in LVM_AT):  # fmt: skip
        return "lvm"
    if head[BTRFS_AT : BTRFS_AT + 8] == BTRFS:
        return "btrfs"
    if ext4.read_volume(head[ext4.SUPER : 2 * ext4.SUPER]) is not None:
        return "ext4"
    if ntfs.read_volume(head[:SECTOR]) is not None:
        return "ntfs"
    if fat.read_volume(head[:SECTOR]) is not None and head[0] in (0xEB, 0xE9):
        return "fat"
    if head[ext4.SUPER : ext4.SUPER + 4] == b"\x10\x20\xf5\xf2":
        return "f2fs"
    if any(head[page - 10 : page] == b"SWAPSPACE2" for page in _PAGES):
        return "swap"
    return "xfs" if head[:4] == b"XFSB" and xfs.SUPER <= len(head) else ""


def forecast(kind: str, head: bytes) -> int:
    """Bytes that a convertible file says it becomes; 0 when its head doesn't say."""
    if kind == "zstd":
        return _zstd_size(head[unpacking.skippable(head) :])
    if kind == "lz4":
        return _lz4_size(head[unpacking.skippable(head) :])
    if kind == "vhdx":
        return vhdx.size(head)
    if kind not in _SIZES or (kind == "vmdk" and head[:4] != b"KDMV"):
        return 0
    place, order, unit = _SIZES[kind]
    return int.from_bytes(head[place : place + 8], order) * unit


def _lz4_size(head: bytes) -> int:
    """The content size in the first frame's header (LZ4 frame format 1.6)."""
    if head[:4] != b"\x04\x22\x4d\x18" or len(head) < 14 or not head[4] & 8:
        return 0
    return int.from_bytes(head[6:14], "little")


def _zstd_size(head: bytes) -> int:
    """The content size in the first frame's header (RFC 8878 section 3.1.1.1)."""
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 18:
        return 0
    flags = head[4]
    is_single = bool(flags & 0x20)
    width = (1 if is_single else 0, 2, 4, 8)[flags >> 6]
    place = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(head[place : place + width], "little")
    return size + 256 if width == 2 else size
