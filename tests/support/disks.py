# SPDX-License-Identifier: Apache-2.0
"""Makes disks as ESXi, Windows and Linux images have them: tables, FAT folders, and little else.

Written from UEFI 2.10, Microsoft FAT 1.03 and ESXi's layout (rule: esxi-disk-layout), not
with the code under test.
"""

from __future__ import annotations

import io
import struct
import tarfile
import uuid
import zlib
from dataclasses import dataclass

SECTOR = 512
MIB = 1 << 20
GIB = 1 << 30
EFI = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BASIC = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
VMFS = "AA31E02A-400F-11DB-9590-000C2911D1B8"
VMFSL = "4EB2EA39-7855-4790-A79E-FAE495E21F8D"
VMKCORE = "9D275380-40AD-11DB-BF97-000C2911D1B8"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
MSR = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE"


@dataclass(frozen=True)
class Part:
    """One partition: LBAs, and what is at its beginning."""

    number: int
    kind: str
    first: int
    last: int
    name: str = ""
    content: bytes = b""


def gpt_header(mine: int, other: int, entries_at: int, entries: bytes, last_usable: int) -> bytes:
    """A header with its checksums."""
    header = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        b"EFI PART", 0x10000, 92, 0, 0, mine, other, 34, last_usable,
        uuid.UUID(int=7).bytes_le, entries_at, 128, 128, zlib.crc32(entries),
    )  # fmt: skip
    crc = zlib.crc32(header)
    return (header[:16] + struct.pack("<I", crc) + header[20:]).ljust(SECTOR, b"\0")


def gpt_disk(size: int, parts: list[Part], *, keep: int | None = None) -> bytes:
    """A whole disk, or its first ``keep`` bytes."""
    entries = bytearray(128 * 128)
    for part in parts:
        entry = uuid.UUID(part.kind).bytes_le + uuid.UUID(int=part.number).bytes_le
        entry += struct.pack("<QQQ", part.first, part.last, 0)
        entry += part.name.encode("utf-16-le").ljust(72, b"\0")
        entries[(part.number - 1) * 128 : part.number * 128] = entry
    last = size // SECTOR - 1
    mbr = bytearray(SECTOR)
    mbr[446:462] = struct.pack(
        "<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, min(last, 2**32 - 1)
    )
    mbr[510:512] = b"\x55\xaa"
    head = bytes(mbr) + gpt_header(1, last, 2, bytes(entries), last - 33) + bytes(entries)
    length = size if keep is None else keep
    disk = bytearray(length)
    disk[: len(head)] = head[:length]
    for part in parts:
        place = part.first * SECTOR
        if place < length:
            content = part.content[: length - place]
            disk[place : place + len(content)] = content
    if keep is None:
        backup = gpt_header(last, 1, last - 32, bytes(entries), last - 33)
        disk[-33 * SECTOR :] = bytes(entries) + backup
    return bytes(disk)


def fat(folders: dict[str, dict[str, bytes]], files: dict[str, bytes]) -> bytes:
    """A FAT16 volume with folders of files and files in its root; one cluster is 4 KiB."""
    reserved, length, roots, cluster = 1, 32, 512, 4096
    boot = bytearray(SECTOR)
    boot[0:3] = b"\xeb\x3c\x90"
    struct.pack_into("<HBHBHHBH", boot, 11, SECTOR, 8, reserved, 2, roots, 0, 0xF8, length)
    boot[510:512] = b"\x55\xaa"
    clusters: list[bytes] = []

    def store(data: bytes) -> int:
        first = len(clusters) + 2
        for start in range(0, max(1, len(data)), cluster):
            clusters.append(data[start : start + cluster].ljust(cluster, b"\0"))
        return first

    root = b"".join(_entry("ESXI", 0x08, 0, 0) for _ in range(1))
    for name, inside in folders.items():
        entries = b"".join(
            _named(each, 0x20, store(data), len(data)) for each, data in inside.items()
        )
        root += _named(name, 0x10, store(entries), 0)
    for name, data in files.items():
        root += _named(name, 0x20, store(data), len(data))
    tables = bytes(2 * length * SECTOR)
    return bytes(boot) + tables + root.ljust(roots * 32, b"\0") + b"".join(clusters)


def _entry(name: str, attributes: int, first: int, size: int) -> bytes:
    stem, _, extension = name.partition(".")
    short = stem[:8].ljust(8).encode() + extension[:3].ljust(3).encode()
    entry = struct.pack(
        "<11sBBBHHHHHHHI", short, attributes, 0, 0, 0, 0, 0, first >> 16, 0, 0, first & 0xFFFF, size
    )
    return entry


def _named(name: str, attributes: int, first: int, size: int) -> bytes:
    """An entry, with a long name in front where the short one cannot say it."""
    stem, _, extension = name.partition(".")
    if len(stem) <= 8 and len(extension) <= 3 and "." not in extension:
        return _entry(name.upper(), attributes, first, size)
    parts = [name[start : start + 13] for start in range(0, len(name), 13)]
    long = b""
    for number, part in reversed(list(enumerate(parts, 1))):
        text = (part + "\0" if len(part) < 13 else part).encode("utf-16-le").ljust(26, b"\xff")
        order = number | (0x40 if number == len(parts) else 0)
        long += bytes([order]) + text[:10] + b"\x0f\0\0" + text[10:22] + b"\0\0" + text[22:26]
    return long + _entry(name[:6].upper() + "~1", attributes, first, size)


def esxi_parts(layout: str, *, version: str = "", is_prepared: bool = True, end: int) -> list[Part]:
    """The partitions of a layout, with what is on 1 and 5. end: the last usable LBA."""
    inside = {"curtin-hooks": b"#!/bin/sh\n", "scripts.tar.xz": b"\xfd7zXZ\0"}
    folders: dict[str, dict[str, bytes]] = {"EFI": {"BOOTX64.EFI": b"MZ"}}
    if is_prepared:
        folders["CURTIN"] = inside
    efi = fat(folders, {})
    config = f"bootstate=0\ntitle=Loading VMware ESXi\nbuild={version}\nupdated=1\n"
    bank = fat({}, {"BOOT.CFG": config.encode()} if version else {"OTHER.TXT": b"x"})
    if layout == "6":
        return [
            Part(1, EFI, 64, 8191, content=efi),
            Part(5, BASIC, 8224, 520191, content=bank),
            Part(6, BASIC, 520224, 1032191),
            Part(7, VMKCORE, 1032224, 1257471),
            Part(8, BASIC, 1257504, 1843199),
            Part(9, VMKCORE, 1843200, 1850000),
            Part(2, BASIC, 1850001, 1860000),
            Part(3, VMFS, 1860001, end),
        ]
    stop5 = 2306047 if layout == "7.0" else 208896 + 4095 * 2048 - 1
    stop6 = stop5 + (stop5 - 208896)
    return [
        Part(1, EFI, 64, 204863, "BOOT", efi),
        Part(5, BASIC, 208896, stop5, "BOOTBANK1", bank),
        Part(6, BASIC, stop5 + 1, stop6, "BOOTBANK2"),
        Part(7, VMFSL, stop6 + 1, stop6 + 2048, "OSDATA"),
        Part(8, VMFS, stop6 + 2049, end, "datastore1"),
    ]


def esxi_head(version: str, *, size: int = 32 * GIB, layout: str = "", **options: bool) -> bytes:
    """The first 110 MiB of an ESXi disk."""
    layout = layout or ("6" if version.startswith("6") else "7")
    parts = esxi_parts(layout, version=version, end=size // SECTOR - 40, **options)
    return gpt_disk(size, parts, keep=110 * MIB)


def small_esxi(version: str = "6.7.0-3.73.14320388", **options: bool) -> bytes:
    """A whole ESXi 6 disk, as small as its layout allows (1 GiB)."""
    size = 1 * GIB
    return gpt_disk(size, esxi_parts("6", version=version, end=size // SECTOR - 40, **options))


def linux_disk(size: int = 8 * MIB) -> bytes:
    """A small Linux disk."""
    return gpt_disk(size, [Part(1, LINUX, 2048, size // SECTOR - 40, "root")])


def windows_disk(size: int = 8 * MIB) -> bytes:
    """A small Windows disk."""
    last = size // SECTOR - 40
    return gpt_disk(size, [Part(1, MSR, 40, 2047), Part(2, BASIC, 2048, last, "Windows")])


def elf(machine: int, *, is_big: bool = False) -> bytes:
    """The head of a program for a machine."""
    order = "big" if is_big else "little"
    head = b"\x7fELF\2" + (b"\2" if is_big else b"\1") + b"\1" + bytes(9)
    return (head + (2).to_bytes(2, order) + machine.to_bytes(2, order)).ljust(128, b"\0")


def tarball(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """An uncompressed tarball."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def root_tar(machine: int = 62, **more: bytes) -> bytes:
    """A root file system."""
    files = {
        "./usr/bin/dash": elf(machine),
        "./boot/vmlinuz-6.8": b"kernel",
        "./boot/initrd.img-6.8": b"initrd",
        "./usr/bin/cloud-init": b"#!/usr/bin/python3",
    } | {name.replace("__", "/"): data for name, data in more.items()}
    return tarball(files, {"./bin/sh": "dash"})
