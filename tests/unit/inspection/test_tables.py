# SPDX-License-Identifier: Apache-2.0
"""Every legal partition table, disks that are longer or shorter, and what is damaged."""

from __future__ import annotations

import struct
import uuid
import zlib

import pytest

from tests.support import disks
from tests.support.disks import LINUX, MIB
from tests.unit.inspection.inspecting import codes, gz, whole, with_bytes
from webapp.inspection import Declared, Report, inspect_head

END = 3 * MIB // 2  # of the partition, which begins at 1 MiB


def gpt(
    size: int = 4 * MIB,
    *,
    first: int = MIB,
    length: int = MIB // 2,
    sector: int = 512,
    list_at: int = 2,
    count: int = 128,
    entry: int = 128,
    number: int = 1,
) -> bytes:
    """A GPT disk with one partition; first and length in bytes, list_at in sectors."""
    last = size // sector - 1
    one = uuid.UUID(LINUX).bytes_le + uuid.UUID(int=3).bytes_le
    one += struct.pack("<QQQ", first // sector, (first + length) // sector - 1, 0)
    table = (bytes(entry * (number - 1)) + one.ljust(entry, b"\0")).ljust(entry * count, b"\0")
    blocks = -(-len(table) // sector)

    def header(mine: int, other: int, at: int) -> bytes:
        fields = (b"EFI PART", 0x10000, 92, 0, 0, mine, other, blocks + 2, last - blocks - 1)
        fields += (uuid.UUID(int=4).bytes_le, at, count, entry, zlib.crc32(table))
        raw = struct.pack("<8sIIIIQQQQ16sQIII", *fields)
        return raw[:16] + struct.pack("<I", zlib.crc32(raw)) + raw[20:]

    disk = bytearray(size)
    for place, data in (
        (0, mbr((0, 0xEE, 1, min(last, 2**32 - 1)))),
        (sector, header(1, last, list_at)),
        (list_at * sector, table),
        ((last - blocks) * sector, table),
        (last * sector, header(last, 1, last - blocks)),
    ):
        disk[place : place + len(data)] = data
    return bytes(disk)


def mbr(*entries: tuple[int, int, int, int]) -> bytes:
    """An MBR; entries: (flag, kind, first sector, sectors)."""
    packed = b"".join(struct.pack("<B3xB3xII", *entry) for entry in entries)
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"


def judged(disk: bytes) -> Report:
    return whole(gz(disk), "ddgz")


def partitions(report: Report) -> list[tuple[int, int, int]]:
    assert report.disk is not None
    return [(part.number, part.first, part.size) for part in report.disk.partitions]


LEGAL: dict[str, dict[str, int]] = {
    "plain": {},
    "the list after a gap": {"size": 6 * MIB, "first": 2 * MIB, "list_at": 1500},
    "the list after the partition": {"list_at": 4096},
    "one entry": {"count": 1},
    "4 entries": {"count": 4, "number": 4},
    "56 entries": {"count": 56},
    "256 entries": {"size": 6 * MIB, "count": 256, "number": 200},
    "8184 entries": {"size": 8 * MIB, "first": 2 * MIB, "count": 8184, "number": 8184},
    "16384 entries": {"size": 9 * MIB, "first": 3 * MIB, "count": 16384, "number": 16384},
    "entries of 256": {"entry": 256, "number": 3},
    "entries of 512": {"entry": 512, "number": 128},
    "entries of 4096": {"entry": 4096, "count": 130, "number": 130},
}


@pytest.mark.parametrize("what", LEGAL)
def test_every_legal_table_is_read(what: str) -> None:
    how = LEGAL[what]
    disk = gpt(**how)
    report = judged(disk)
    assert report.verdict == "ok", report.reasons
    assert report.disk is not None
    assert (report.disk.table, report.disk.size) == ("gpt", len(disk))
    assert partitions(report) == [(how.get("number", 1), how.get("first", MIB), MIB // 2)]


@pytest.mark.parametrize("how", [{}, {"list_at": 300, "first": 2 * MIB}, {"count": 512}])
def test_sectors_of_4096_bytes_are_read_and_noted(how: dict[str, int]) -> None:
    report = judged(gpt(8 * MIB, sector=4096, **how))
    assert report.verdict == "ok"
    assert partitions(report) == [(1, how.get("first", MIB), MIB // 2)]
    (note,) = report.reasons
    assert "4096" in note.message


@pytest.mark.parametrize(
    "entries",
    [
        [(0x80, 0xEE, 1, 40), (0, 0x83, 2048, 1024)],
        [(0, 0x83, 2048, 1024), (0, 0xEE, 1, 8191)],
        [(0, 0x0C, 2048, 1024), (0, 0x83, 4096, 8), (0, 0x83, 5000, 8), (0, 0xEE, 1, 2**32 - 1)],
        [(0, 0xEE, 1, 0)],
    ],
)
def test_a_hybrid_or_odd_protective_mbr_is_one(entries: list[tuple[int, int, int, int]]) -> None:
    report = judged(with_bytes(gpt(), 0, mbr(*entries)))
    assert report.verdict == "ok"
    assert partitions(report) == [(1, MIB, MIB // 2)]


@pytest.mark.parametrize("more", [512, 3 * MIB, 10 * MIB])
def test_a_disk_in_a_longer_file_is_taken_with_a_warning(more: int) -> None:
    report = judged(gpt() + bytes(more))
    assert (report.verdict, codes(report, "warn")) == ("warn", ["longer"])
    assert "growpart" in report.reasons[0].next_step


@pytest.mark.parametrize("end", [END, END + 512, 2 * MIB, 4 * MIB - 512])
def test_a_disk_cut_behind_its_last_partition_is_taken_with_a_warning(end: int) -> None:
    report = judged(gpt()[:end])
    assert (report.verdict, codes(report, "warn")) == ("warn", ["short"])


@pytest.mark.parametrize("end", [END - 1, END - 512, MIB + 1, MIB, 20_000])
def test_a_disk_cut_inside_a_partition_is_refused(end: int) -> None:
    assert codes(judged(gpt()[:end])) == ["short"]


def test_a_disk_cut_before_its_list_is_refused() -> None:
    assert codes(judged(gpt(list_at=4096)[: MIB * 7 // 4])) == ["short"]


@pytest.mark.parametrize(("first", "count"), [(2048, 4096), (4095, 2), (1, 10_000)])
def test_an_mbr_disk_cut_inside_a_partition_is_refused(first: int, count: int) -> None:
    whole_disk = mbr((0x80, 0x83, first, count)).ljust((first + count) * 512, b"\0")
    good = judged(whole_disk)
    assert good.verdict == "ok"
    assert partitions(good) == [(1, first * 512, count * 512)]
    assert codes(judged(whole_disk[:-512])) == ["short"]


@pytest.mark.parametrize("header", ["whole", "damaged", "gone"])
def test_without_the_protective_entry_an_old_gpt_is_none(header: str) -> None:
    disk = with_bytes(gpt(), 0, mbr((0x80, 0x83, 2048, 2048)))
    if header != "whole":
        disk = with_bytes(disk, 512, bytes(512) if header == "gone" else b"EFI PART" + bytes(60))
    report = judged(disk)
    assert report.disk is not None
    assert (report.verdict, report.disk.table) == ("ok", "mbr")
    assert partitions(report) == [(1, MIB, MIB)]


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("how", [{}, {"count": 16384, "number": 16384, "first": 3 * MIB}])
def test_the_backup_stands_in_for_a_first_table_that_is_gone(
    sector: int, how: dict[str, int]
) -> None:
    disk = with_bytes(gpt(9 * MIB, sector=sector, **how), sector, bytes(92))
    report = judged(disk)
    assert codes(report, "warn") == ["first-table"]
    assert report.verdict == "warn"
    first = how.get("first", MIB)
    assert partitions(report) == [(how.get("number", 1), first, MIB // 2)]
    neither = with_bytes(disk, len(disk) - sector, bytes(92))
    assert codes(judged(neither)) == ["table"]
    assert inspect_head(gz(disk)[:5000], Declared("ddgz"), 1 << 30).verdict != "reject"


DAMAGED = {
    "the header": with_bytes(gpt(), 512 + 40, b"\1"),
    "the list": with_bytes(gpt(), 1024 + 60, b"\1"),
    "the end of a long list": with_bytes(gpt(8 * MIB, first=2 * MIB, count=8184), MIB - 99, b"\1"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_wrong_checksum_is_told_with_what_was_expected(what: str) -> None:
    (reason,) = judged(DAMAGED[what]).reasons
    assert (reason.severity, reason.code) == ("error", "table")
    assert "expected" in reason.message


def test_numbers_no_table_may_have_are_refused() -> None:
    for how in ({"entry": 384}, {"entry": 64}, {"count": 16385, "size": 16 * MIB}):
        assert codes(judged(gpt(**{"first": 3 * MIB, **how}))) == ["table"]


NAMED = {
    "vhd": b"conectix" + struct.pack(">II", 2, 0x10000),
    "vdi": b"<<< a disk image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe\1\0\1\0",
    "qed": b"QED\0" + bytes(60),
    "qcow": b"QFI\xfb\0\0\0\1",
    "qcow2": b"QFI\xfb\0\0\0\2",
    "vmdk": b"COWD" + bytes(60),
}


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("is_packed", [False, True])
def test_disks_of_virtual_machines_are_named(kind: str, is_packed: bool) -> None:
    data = NAMED[kind].ljust(MIB, b"\0")
    report = whole(gz(data) if is_packed else data, "ddraw")
    (reason,) = [reason for reason in report.reasons if reason.severity == "error"]
    assert (reason.code, report.container) == (kind, kind)
    assert kind in reason.message.lower()
    assert "qemu-img convert" in reason.next_step


def test_a_fixed_vhd_is_known_by_its_footer() -> None:
    for disk in (gpt(), mbr((0, 0x83, 2048, 2048)).ljust(2 * MIB, b"\0")):
        report = whole(disk + b"conectix".ljust(512, b"\0"), "ddraw")
        assert codes(report) == ["vhd"]


SKIPPED = b"\x5a\x2a\x4d\x18\3\0\0\0abc"
PACKED = {
    "zstd": bytes.fromhex("28b52ffd2000010000"),
    "zstd after a frame to skip": SKIPPED + bytes.fromhex("28b52ffd2000010000"),
    "zstd after two": SKIPPED * 2 + bytes.fromhex("28b52ffd2000010000"),
    "zstd after a large one": b"\x50\x2a\x4d\x18" + struct.pack("<I", MIB) + bytes(MIB + 64),
    "lz4": bytes.fromhex("04224d18604082") + bytes(64),
    "lz4 after a frame to skip": SKIPPED + bytes.fromhex("04224d18604082") + bytes(64),
    "lz4 of old": bytes.fromhex("02214c18") + bytes(64),
    "lzip": b"LZIP\1" + bytes(64),
    "compress": b"\x1f\x9d\x90" + bytes(64),
}


@pytest.mark.parametrize("what", PACKED)
def test_what_machines_cannot_unpack_is_named(what: str) -> None:
    report = whole(PACKED[what], "ddgz")
    (reason,) = report.reasons
    assert (reason.severity, reason.code) == ("error", "compression")
    assert what.split()[0] in reason.message
    assert reason.next_step == "Recompress it with gzip or xz."


VOLUMES = {
    "btrfs": b"_BHRfS_M".rjust(0x10048, b"\0"),
    "LVM": bytes(512) + b"LABELONE" + bytes(16) + b"LVM2 001",
    "LUKS": b"LUKS\xba\xbe\0\2",
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_volume_that_is_not_read_is_named(name: str) -> None:
    bare = whole(gz(VOLUMES[name].ljust(MIB, b"\0")), "ddgz")
    assert name in bare.words
    assert codes(bare) == [name.lower()]
    volume = VOLUMES[name].ljust(MIB // 2, b"\0")
    report = judged(with_bytes(gpt(), MIB, volume))
    assert report.verdict == "ok"
    assert report.words == f"gzip, GPT disk of 4 MiB, Linux on {name}"
    assert report.disk is not None
    assert report.purpose(report.disk.partitions[0]) == f"Linux ({name})"
    in_mbr = mbr((0, 0x83, 2048, 1024)).ljust(MIB, b"\0") + volume
    assert name in judged(in_mbr).words


def test_a_disk_declared_as_esxi_without_vmware_is_refused() -> None:
    for disk in (gpt(), mbr((0, 0x83, 2048, 2048)).ljust(2 * MIB, b"\0"), disks.linux_disk()):
        report = whole(gz(disk), "ddgz", os="esxi", release="8.0")
        (reason,) = [reason for reason in report.reasons if reason.severity == "error"]
        assert (reason.code, reason.fix) == ("not-esxi", {"name": "custom/8.0"})
    windows = whole(gz(disks.windows_disk()), "ddgz", os="esxi", release="2022")
    assert [r.fix for r in windows.reasons if r.severity == "error"] == [{"name": "windows/2022"}]
    part = disks.Part(1, disks.VMFS, 2048, 4095)
    odd = whole(gz(disks.gpt_disk(4 * MIB, [part])), "ddgz", os="esxi", release="5")
    assert (odd.verdict, codes(odd, "warn")) == ("warn", ["not-esxi"])


def extended(kind: int, *sizes: int, inside: bytes = b"") -> bytes:
    """An MBR disk with a primary partition, and these logical ones (in sectors) behind it.

    inside: what the last one begins with.
    """
    total = sum(sizes) + 64 * len(sizes)
    disk = bytearray(MIB + MIB // 2 + total * 512)
    start = (MIB + MIB // 2) // 512
    disk[:512] = mbr((0x80, 0x83, 2048, 1024), (0, kind, start, total))
    place = start
    for index, size in enumerate(sizes):
        following = place + 64 + size
        is_last = index == len(sizes) - 1
        link = () if is_last else ((0, 5, following - start, 64 + sizes[index + 1]),)
        disk[place * 512 : place * 512 + 512] = mbr((0, 0x83, 64, size), *link)
        if is_last:
            disk[(place + 64) * 512 : (place + 64) * 512 + len(inside)] = inside
        place = following
    return bytes(disk)


@pytest.mark.parametrize("kind", [0x05, 0x0F, 0x85])
def test_logical_partitions_are_listed_and_looked_into(kind: int) -> None:
    volume = VOLUMES["btrfs"]
    report = judged(extended(kind, 100, 300, 2000, inside=volume))
    first = MIB + MIB // 2
    assert partitions(report) == [
        (1, MIB, MIB // 2),
        (2, first, 2592 * 512),
        (5, first + 64 * 512, 100 * 512),
        (6, first + 228 * 512, 300 * 512),
        (7, first + 592 * 512, 2000 * 512),
    ]
    assert report.words == "gzip, MBR disk, Linux on btrfs"
    assert report.system.unread == {7: "btrfs"}


def test_a_chain_of_logical_partitions_always_ends() -> None:
    disk = bytearray(extended(5, 100, 100))
    place = (MIB + MIB // 2) + 164 * 512
    disk[place : place + 512] = mbr((0, 0x83, 64, 100), (0, 5, 0, 100))  # back to the first
    assert [number for number, _, _ in partitions(judged(bytes(disk)))] == [1, 2, 5, 6]
    endless = bytearray(mbr((0, 5, 1, 9000)).ljust(5 * MIB, b"\0"))
    for sector in range(1, 9000):
        endless[sector * 512 : sector * 512 + 512] = mbr((0, 0x83, 1, 1), (0, 5, sector, 1))
    found = judged(bytes(endless)).disk
    assert found is not None
    assert len(found.partitions) == 56


def test_a_bare_volume_is_named() -> None:
    fat = disks.fat({}, {"A.TXT": b"x"}).ljust(MIB, b"\0")
    swap = (b"SWAPSPACE2".rjust(4096, b"\0")).ljust(MIB, b"\0")
    f2fs = (bytes(1024) + b"\x10\x20\xf5\xf2").ljust(MIB, b"\0")
    found = [whole(gz(data), "ddgz").container for data in (fat, swap, f2fs)]
    assert found == ["fat", "swap", "f2fs"]
