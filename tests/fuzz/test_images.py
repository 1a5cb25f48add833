# SPDX-License-Identifier: Apache-2.0
"""Fuzz what is inspected: tarballs, GPT, MBR, file systems and gzip."""

from __future__ import annotations

import gzip
import json
import struct
import uuid
import zlib
from collections.abc import Iterator
from functools import cache

import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.guards import guarded
from tests.support import archives, disks
from tests.support.archives import END, header, member, pax
from tests.support.disks import GIB, LINUX, MIB, SECTOR, Part
from webapp.inspection import Declared, inspect, inspect_head

FUZZED = settings(deadline=None, suppress_health_check=list(HealthCheck))
# Bytes that mean something somewhere: ends, flags, digits, the largest numbers.
TELLING = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0xEE, 0x55, 0xAA, *b"0179 \n=,SLxg"])
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), TELLING), max_size=12)
WORDS = ["", "tgz", "ddtgz", "ddgz", "ddraw"]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def judged(data: bytes, word: str, step: int = 1 << 16) -> None:
    """Every way to inspect it keeps the limits, and gives a report that can be stored."""
    declared = Declared(word, "esxi", "8.0", "amd64")
    report = guarded(lambda: inspect(pieces(data, step), declared).as_dict())
    assert report["verdict"] in ("ok", "warn", "reject")
    json.dumps(report)
    guarded(lambda: inspect_head(data[: 1 << 20], declared, 1 << 40).as_dict())


def changed(data: bytes, changes: list[tuple[float, int]]) -> bytes:
    made = bytearray(data)
    for place, byte in changes if data else ():
        made[int(place * len(made))] = byte
    return bytes(made)


def signed_again(tar: bytes) -> bytes:
    """Correct sums in every block that looks like a header, so that damage gets further in."""
    made = bytearray(tar)
    for at in range(0, len(made) - 511, 512):
        if made[at + 257 : at + 262] == b"ustar":
            made[at + 148 : at + 156] = b" " * 8
            made[at + 148 : at + 156] = b"%06o\0 " % sum(made[at : at + 512])
    return bytes(made)


@cache
def tarballs() -> list[bytes]:
    disk = archives.pieces_of(disks.gpt_disk(MIB * 3 // 2, [Part(1, LINUX, 2048, 2200)]))
    size = MIB * 3 // 2
    sparse = [archives.pax_sparse(v, b"d.raw", size, disk) for v in ("0.0", "0.1", "1.0")]
    sparse += [make(b"d.raw", size, disk) for make in (archives.gnu_sparse, archives.star_sparse)]
    names = member(b"././@LongLink", b"n" * 300 + b"\0", b"L") + member(b"short", b"x")
    more = pax((b"path", b"p" * 200), (b"size", b"7")) + header(b"q") + archives.padded(b"content")
    return [one + END for one in (*sparse, names, more, disks.root_tar()[:-1024])]


@FUZZED
@given(st.data(), CHANGES, st.booleans())
def test_tarballs(data: st.DataObject, changes: list[tuple[float, int]], is_signed: bool) -> None:
    tar = changed(data.draw(st.sampled_from(tarballs())), changes)
    judged(signed_again(tar) if is_signed else tar, data.draw(st.sampled_from(WORDS)), 10_007)


@FUZZED
@given(
    st.lists(st.tuples(st.sampled_from("LKxgS01"), st.binary(max_size=600)), max_size=40),
    st.integers(0, 1 << 62),
)
def test_nested_headers(parts: list[tuple[str, bytes]], size: int) -> None:
    made = b"".join(member(b"n", data, kind.encode(), magic=b"ustar  \0") for kind, data in parts)
    judged(made + header(b"last", fields=[(124, archives.octal(size))]) + END, "tgz")


def gpt_with(fields: bytes, *, sector: int = SECTOR) -> bytes:
    """A disk whose header has these bytes from 24 on, and checksums that are right."""
    disk = bytearray(disks.gpt_disk(MIB, [Part(1, LINUX, 100, 200)]))
    head = bytearray(disk[512:604])
    head[24 : 24 + len(fields)] = fields
    head[16:20] = bytes(4)
    head[16:20] = struct.pack("<I", zlib.crc32(head))
    disk[sector : sector + 92] = head
    return bytes(disk)


NUMBER = st.one_of(
    st.integers(0, 3000), st.sampled_from([2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1])
)
SMALL = st.one_of(st.integers(0, 600), st.sampled_from([16384, 16385, 2**31, 2**32 - 1]))


@FUZZED
@given(
    st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), NUMBER, SMALL, SMALL, st.sampled_from([512, 4096])
)
def test_gpt_headers(
    places: tuple[int, ...], list_at: int, count: int, entry: int, sector: int
) -> None:
    fields = struct.pack("<QQQQ16sQII", *places, bytes(16), list_at, count, entry)
    disk = gpt_with(fields, sector=sector)
    judged(disk, "ddraw")
    judged(disk[:70_000], "ddraw")


@FUZZED
@given(CHANGES, st.integers(0, MIB))
def test_gpt_disks(changes: list[tuple[float, int]], end: int) -> None:
    disk = disks.gpt_disk(MIB, [Part(n, LINUX, 100 * n, 100 * n + 50) for n in range(1, 9)])
    judged(changed(disk[:20_000], changes) + disk[20_000 : max(end, 20_000)], "ddraw")


@FUZZED
@given(
    st.lists(st.tuples(TELLING, TELLING, NUMBER, NUMBER), min_size=4, max_size=4),
    st.integers(512, 100_000),
)
def test_mbr_disks(entries: list[tuple[int, int, int, int]], size: int) -> None:
    packed = (
        struct.pack("<B3xB3xII", flag, kind, first & 0xFFFFFFFF, count & 0xFFFFFFFF)
        for flag, kind, first, count in entries
    )
    judged((bytes(446) + b"".join(packed) + b"\x55\xaa").ljust(size, b"\0"), "ddraw")


@cache
def volumes() -> list[bytes]:
    """The beginnings of file systems, with just enough to be read on."""
    ntfs = bytearray(8192)
    ntfs[3:14] = b"NTFS    \0\2\1"
    ntfs[48], ntfs[64] = 4, 0xF6
    ntfs[2048:2056] = b"FILE\x30\0\3\0"
    ntfs[2068], ntfs[2070] = 56, 1
    ntfs[2104:2112] = bytes((0x80, 0, 0, 0, 80, 0, 0, 0))
    ext = bytearray(8192)
    ext[1080:1082] = b"\x53\xef"
    ext[1100] = 1
    ext[1112:1114] = b"\0\1"
    ext[2056] = 3
    xfs = bytearray(8192)
    xfs[:4] = b"XFSB"
    xfs[84:88] = b"\0\0\1\0"
    xfs[100:106] = b"\xb4\xa5\0\0\2\0"
    xfs[120:125] = b"\x0c\x09\x09\x03\x08"
    fat = disks.fat({"CURTIN": {"curtin-hooks": b"#!"}}, {"BOOT.CFG": b"build=8.0.2-0.0.1\n"})
    return [bytes(ntfs), bytes(ext), bytes(xfs), fat[:60_000]]


@FUZZED
@given(st.data(), CHANGES)
def test_file_systems(data: st.DataObject, changes: list[tuple[float, int]]) -> None:
    start = data.draw(st.sampled_from(volumes()))
    volume = changed(start, changes).ljust(200_000, b"\0")
    judged(disks.gpt_disk(MIB, [Part(1, LINUX, 100, 1000, content=volume)]), "ddraw")
    judged(volume, "ddraw")


@FUZZED
@given(CHANGES, st.integers(1, 8))
def test_file_systems_of_esxi(changes: list[tuple[float, int]], size: int) -> None:
    parts = disks.esxi_parts("6", version="6.7.0-1.1.1", end=2_000_000)
    volume = changed(parts[0].content, changes)
    disk = disks.gpt_disk(GIB, [Part(1, disks.EFI, 64, 8191, content=volume), *parts[1:]], keep=MIB)
    judged(disk[: size * MIB // 8], "ddraw")


@FUZZED
@given(st.data(), CHANGES, st.binary(max_size=40))
def test_gzip(data: st.DataObject, changes: list[tuple[float, int]], behind: bytes) -> None:
    inside = data.draw(st.sampled_from([*tarballs(), disks.linux_disk(MIB)]))
    packed = gzip.compress(inside, 1, mtime=0)
    end = data.draw(st.integers(0, len(packed)))
    judged(changed(packed, changes) + behind, "ddgz", data.draw(st.sampled_from([1, 7, 65536])))
    judged(packed[:end], "tgz")


@cache
def convertibles() -> list[bytes]:
    """Beginnings of files that are converted: what they hold is looked at, and a size is told."""
    disk, root = disks.linux_disk(MIB), disks.root_tar()
    vhdx = bytearray(b"vhdxfile".ljust(MIB, b"\0"))
    vhdx[192 << 10 : (192 << 10) + 12] = b"regi" + bytes(4) + b"\1\0\0\0"
    vhdx[(192 << 10) + 16 : (192 << 10) + 40] = uuid.UUID(
        "8B7CA206-4790-4B9A-B8FE-575F050F886E"
    ).bytes_le + struct.pack("<Q", 256 << 10)
    vhdx[256 << 10 : (256 << 10) + 12] = b"metadata\0\0\1\0"
    vhdx[(256 << 10) + 32 : (256 << 10) + 52] = uuid.UUID(
        "2FA54224-CD1B-4876-B211-5DBED83BF4B8"
    ).bytes_le + struct.pack("<I", 65536)
    ova = member(b"a.ovf", b"<x/>") + member(b"a.vmdk", b"KDMV".ljust(50_000, b"\1")) + END
    skipped = b"\x50\x2a\x4d\x18\3\0\0\0abc"
    packed = [
        pack(one) for pack in (zstandard.compress, lz4.frame.compress) for one in (disk, root)
    ]
    return [*packed, *(skipped + one for one in packed), bytes(vhdx), ova, gzip.compress(packed[0])]


@FUZZED
@given(st.data(), CHANGES, st.integers(0, 80))
def test_convertibles(data: st.DataObject, changes: list[tuple[float, int]], early: int) -> None:
    start = data.draw(st.sampled_from(convertibles()))
    judged(changed(start, changes), data.draw(st.sampled_from(WORDS)))
    judged(changed(start[:early], changes) + start[early:], "ddgz")


@FUZZED
@given(st.lists(st.tuples(SMALL, SMALL, SMALL, SMALL), max_size=70), st.integers(1, 3000))
def test_logical_partitions(links: list[tuple[int, ...]], size: int) -> None:
    disk = bytearray(bytes(446) + struct.pack("<B3xB3xII", 0, 5, 1, size).ljust(64, b"\0"))
    disk = bytearray((disk + b"\x55\xaa").ljust(MIB, b"\0"))
    for at, (first, count, following, more) in enumerate(links, 1):
        table = struct.pack("<B3xB3xII", 0, 0x83, first & 0xFFFFFFFF, count & 0xFFFFFFFF)
        table += struct.pack("<B3xB3xII", 0, 5, following & 0xFFFFFFFF, more & 0xFFFFFFFF)
        place = at * 512
        disk[place : place + 512] = bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"
    judged(bytes(disk), "ddraw")


def bomb(inside: bytes, zeros: int) -> bytes:
    """Some bytes and then zeros, packed."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    made = packer.compress(inside)
    for _ in range(zeros >> 24):
        made += packer.compress(bytes(1 << 24))
    return made + packer.flush()


BOMBS = {
    "200 GiB of holes": lambda: gzip.compress(
        archives.gnu_sparse(b"d", 200 * GIB, [(0, disks.linux_disk(MIB)[:65536])]) + END
    ),
    "holes in every dialect": lambda: gzip.compress(
        archives.pax_sparse("1.0", b"d", 1 << 60, [(0, b"x" * 512), (1 << 59, b"y" * 512)]) + END
    ),
    "long names without an end": lambda: bomb(header(b"n", 1 << 40, b"L"), 256 * MIB),
    "a thousand long names": lambda: gzip.compress(member(b"n", b"n" * 600, b"L") * 1000),
    "a large pax header": lambda: gzip.compress(pax((b"comment", b"c" * 3 * MIB))),
    "records without an end": lambda: gzip.compress(member(b"p", b"5 a=\n" * (MIB // 2), b"x")),
    "a map of many records": lambda: gzip.compress(
        member(b"p", b"25 GNU.sparse.numbytes=1\n" * 150_000, b"x") + member(b"d", b"x")
    ),
    "a table over all of it": lambda: bomb(
        gpt_with(struct.pack("<QQQQ16sQII", 1, 2**28, 2, 9, bytes(16), 2, 16384, 4096)), 64 * MIB
    ),
    "zeros in zstd": lambda: zstandard.compress(bytes(256 * MIB)),
    "zeros in many frames of zstd": lambda: zstandard.compress(bytes(MIB)) * 9000,
    "frames of zstd with nothing in them": lambda: zstandard.compress(b"") * 100_000,
    "a window of 2 GiB": lambda: b"\x28\xb5\x2f\xfd\0\xa8\1\0\0".ljust(5000, b"\0"),
    "frames to skip without an end": lambda: b"\x50\x2a\x4d\x18\0\0\0\0" * 130_000,
    "zstd in zstd in zstd": lambda: zstandard.compress(
        zstandard.compress(zstandard.compress(bytes(64 * MIB)))
    ),
    "zeros behind an unknown start": lambda: bomb(b"what is this?" * 9000, 512 * MIB),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    judged(BOMBS[name](), "ddtgz")
