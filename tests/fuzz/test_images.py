# SPDX-License-Identifier: Apache-2.0
"""Fuzz what is inspected: tarballs, GPT, MBR, file systems and gzip."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from functools import cache

import pytest
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
    for place, byte in changes:
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
    "zeros behind an unknown start": lambda: bomb(b"what is this?" * 9000, 512 * MIB),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    judged(BOMBS[name](), "ddtgz")
