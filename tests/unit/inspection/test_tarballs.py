# SPDX-License-Identifier: Apache-2.0
"""Tarballs as people's tools write them: sparse, pax, star, v7, and what is rare but legal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import archives, disks
from tests.support.archives import END, gnu_sparse, header, member, pax, pax_sparse, star_sparse
from tests.support.disks import GIB, MIB
from tests.unit.inspection.inspecting import codes, gz, whole
from webapp.inspection import Report

LINUX = [disks.Part(1, disks.LINUX, 2048, 3071, "lab")]  # 512 KiB from 1 MiB on
FILES = (b"boot/vmlinuz-6.1", b"boot/initrd.img-6.1", b"usr/bin/cloud-init")
Sparse = Callable[[bytes, int, archives.Pieces], bytes]
DIALECTS: dict[str, Sparse] = {
    "gnu": gnu_sparse,
    "star": star_sparse,
    "pax-0.0": lambda *how: pax_sparse("0.0", *how),
    "pax-0.1": lambda *how: pax_sparse("0.1", *how),
    "pax-1.0": lambda *how: pax_sparse("1.0", *how),
}


def disk(size: int = 4 * MIB) -> bytes:
    return disks.gpt_disk(size, LINUX)


def holed(count: int) -> bytes:
    """A disk with many holes."""
    made = bytearray(disk(8 * MIB))
    for number in range(count):
        place = 2 * MIB + number * 8192
        made[place : place + 4096] = b"data" * 1024
    return bytes(made)


def root(files: tuple[bytes, ...] = FILES, extra: bytes = b"") -> bytes:
    """A root file system with something else in it."""
    made = header(b"./", 0, b"5") + member(b"./bin/dash", disks.elf(62))
    made += header(b"./bin/sh", 0, b"2", link=b"dash") + extra
    return made + b"".join(member(b"./" + name, b"content\n") for name in files)


def as_disk(tar: bytes) -> Report:
    return whole(gz(tar + END), "ddtgz")


def as_root(tar: bytes) -> Report:
    return whole(gz(tar + END), "tgz")


def says_disk(report: Report, size: int, name: str = "lab.raw") -> None:
    assert report.verdict == "ok", report.reasons
    assert report.disk_in_tar == name
    assert report.disk is not None
    assert (report.disk.table, report.disk.size) == ("gpt", size)
    assert [(p.number, p.first, p.size) for p in report.disk.partitions] == [(1, MIB, MIB // 2)]


def says_root(report: Report) -> None:
    assert report.reasons == []
    assert (report.container, report.verdict) == ("tar", "ok")
    assert report.root is not None
    assert report.root.has_kernel
    assert report.root.has_initrd
    assert report.root.has_cloud_init


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("holes", [0, 1, 2, 3, 20, 21, 60, 200])
def test_a_sparse_disk_is_read_in_every_dialect(dialect: str, holes: int) -> None:
    data = holed(holes)
    tar = DIALECTS[dialect](b"lab.raw", len(data), archives.pieces_of(data))
    says_disk(as_disk(tar), 8 * MIB)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("size", [8 * GIB, 200 * GIB, 255 * GIB])
def test_holes_are_skipped_however_large(dialect: str, size: int) -> None:
    small = disks.gpt_disk(size, LINUX, keep=2 * MIB)
    last = size // 512 - 1
    entries = small[1024 : 1024 + 128 * 128]
    backup = disks.gpt_header(last, 1, last - 32, entries, last - 33)
    pieces = [*archives.pieces_of(small), (size - 512, backup)]
    packed = gz(DIALECTS[dialect](b"lab.raw", size, pieces) + END)
    assert len(packed) < 2000
    says_disk(whole(packed, "ddtgz"), size)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_sparse_disk_that_is_cut_is_called_cut_not_damaged(dialect: str) -> None:
    data = disk()[: MIB + 65536]
    pieces = [*archives.pieces_of(data), (MIB + 4096, b"data" * 1024)]
    report = as_disk(DIALECTS[dialect](b"lab.raw", len(data), pieces))
    assert codes(report) == ["short"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_sparse_files_in_a_root_are_files_like_any_other(dialect: str) -> None:
    pieces = [(0, b"k" * 4096), (40960, b"k" * 4096)]
    made = b"".join(DIALECTS[dialect](b"./" + name, 49152, pieces) for name in FILES)
    says_root(as_root(root((), made)))
    late = [(100 * MIB, b"far away" * 512)]
    says_root(as_root(root(extra=DIALECTS[dialect](b"./var/log/lastlog", 200 * MIB, late))))


def test_pieces_out_of_order_are_a_file_but_no_disk() -> None:
    data = disk()
    pieces = archives.pieces_of(data)
    turned = [pieces[0], *reversed(pieces[1:])]
    assert codes(as_disk(gnu_sparse(b"lab.raw", len(data), turned))) == ["tar-order"]
    says_root(as_root(root(extra=gnu_sparse(b"./srv/a", len(data), turned))))


SIZES: dict[str, Callable[[bytes], bytes]] = {
    "the field is 0": lambda data: pax((b"size", b"%d" % len(data))) + header(b"lab.raw"),
    "the field is wrong": lambda data: pax((b"size", b"%d" % len(data))) + header(b"lab.raw", 512),
    "global": lambda data: pax((b"size", b"%d" % len(data)), kind=b"g") + header(b"lab.raw", 1),
    "the local record wins": lambda data: (
        pax((b"size", b"1"), kind=b"g") + pax((b"size", b"%d" % len(data))) + header(b"lab.raw")
    ),
    "Solaris": lambda data: pax((b"size", b"%d" % len(data)), kind=b"X") + header(b"lab.raw"),
    "base 256": lambda data: header(
        b"lab.raw", fields=[(124, b"\x80" + len(data).to_bytes(11, "big"))]
    ),
    "spaces in front": lambda data: header(b"lab.raw", fields=[(124, b"%11o " % len(data))]),
    "v7": lambda data: header(b"lab.raw", len(data), b"\0", magic=b""),
    "contiguous": lambda data: header(b"lab.raw", len(data), b"7"),
}


@pytest.mark.parametrize("how", SIZES)
def test_the_size_that_counts_is_found(how: str) -> None:
    data = disk()
    says_disk(as_disk(SIZES[how](data) + data), len(data))


NAMES: dict[str, tuple[bytes, str]] = {
    "pax": (pax((b"path", b"d/lab.raw")) + header(b"PaxName", 4 * MIB), "d/lab.raw"),
    "pax in UTF-8": (pax((b"path", "dïsk".encode())) + header(b"PaxName", 4 * MIB), "dïsk"),
    "global": (pax((b"path", b"g.raw"), kind=b"g") + header(b"other", 4 * MIB), "g.raw"),
    "GNU": (
        member(b"././@LongLink", b"n" * 300 + b"\0", b"L") + header(b"nnn", 4 * MIB),
        "n" * 300,
    ),
    "the last long name": (
        member(b"././@LongLink", b"one\0", b"L") * 50
        + member(b"././@LongLink", b"two\0", b"L")
        + header(b"three", 4 * MIB),
        "two",
    ),
    "ustar": (header(b"lab.raw", 4 * MIB, fields=[(345, b"a/b")]), "a/b/lab.raw"),
    "GNU's times are no prefix": (
        header(b"lab.raw", 4 * MIB, magic=b"ustar  \0", fields=[(345, b"14000000000\0")]),
        "lab.raw",
    ),
    "nothing in v7": (header(b"lab.raw", 4 * MIB, magic=b"", fields=[(345, b"a/b")]), "lab.raw"),
    "a value is not a record": (
        pax((b"comment", b"first\n17 path=wrong.raw\n")) + header(b"lab.raw", 4 * MIB),
        "lab.raw",
    ),
}


@pytest.mark.parametrize("how", NAMES)
def test_the_name_that_counts_is_found(how: str) -> None:
    start, name = NAMES[how]
    says_disk(as_disk(start + disk()), 4 * MIB, name)


RARE: dict[str, bytes] = {
    "incremental": member(b"./srv/", b"Ya\0Nb\0\0", b"D", magic=b"ustar  \0"),
    "an unknown letter": member(b"./srv/a", b"q" * 1300, b"Q"),
    "access lists of Solaris": member(b"./srv/a", b"user::rwx\0", b"A"),
    "a volume's label": member(b"lab", b"", b"V"),
    "signed sums": member("./srv/caf\xe9".encode("latin-1"), b"a", has_signed_sum=True),
    "70 KiB of attributes": pax((b"SCHILY.xattr.user.lab", b"n" * 70_000)) + member(b"a", b"a"),
    "2 MiB of attributes": pax((b"SCHILY.xattr.user.lab", b"n" * 2 * MIB)) + member(b"a", b"a"),
    "an unknown record": pax((b"LAB.own", b"1")) + member(b"./srv/a", b"a"),
    "a size of 9000": pax((b"size", b"9000")) + header(b"./srv/a") + archives.padded(b"a" * 9000),
    "a hard link with a size": header(b"./srv/b", 5000, b"1", link=b"./bin/dash"),
    "a symbolic link with a size": header(b"./srv/b", 5000, b"2", link=b"dash"),
    "a folder with a size": header(b"./srv/", 5000, b"5"),
    "an old folder with a size": header(b"./srv/", 5000, b"0"),
    "devices": header(b"./dev/null", 512, b"3") + header(b"./dev/sda", 512, b"4"),
    "a FIFO": header(b"./run/initctl", 512, b"6"),
    "a long link": member(b"././@LongLink", b"l" * 300 + b"\0", b"K") + header(b"./l", 0, b"2"),
    "an ISO in a file": member(b"./srv/boot.iso", bytes(32769) + b"CD001" + bytes(70000)),
    "numbers that end early": header(
        b"./srv/a", fields=[(100, b"755 rubb"), (124, b"0\0 rubbish")]
    ),
}


@pytest.mark.parametrize("what", RARE)
def test_what_is_rare_but_legal_is_taken(what: str) -> None:
    says_root(as_root(root(extra=RARE[what])))


def test_a_value_that_looks_like_a_record_names_nothing() -> None:
    note = pax((b"SCHILY.xattr.user.lab", b"first\n14 path=srv/z\n"))
    says_root(as_root(root(FILES[1:], note + member(b"./" + FILES[0], b"content\n"))))


def test_a_root_whose_shell_is_a_hard_link_tells_its_machine() -> None:
    made = member(b"./bin/[", disks.elf(183)) + header(b"./bin/busybox", 0, b"1", link=b"./bin/[")
    report = as_root(made + header(b"./bin/sh", 0, b"2", link=b"busybox"))
    assert report.root is not None
    assert (report.root.arch, report.root.has_shell) == ("arm64", True)


def test_a_disk_inside_a_root_leaves_it_a_root() -> None:
    says_root(as_root(member(b"./a/first.img", disk()) + root()))
    says_root(as_root(root(extra=member(b"./var/vm.qcow2", b"QFI\xfb\0\0\0\3" + bytes(70000)))))


@pytest.mark.parametrize(
    ("magic", "kind"),
    [
        (b"QFI\xfb\0\0\0\3", "qcow2"),
        (b"KDMV\1\0\0\0", "vmdk"),
        (b"vhdxfile", "vhdx"),
        (b"conectix", "vhd"),
        (b"QED\0", "qed"),
    ],
)
def test_a_virtual_disk_in_a_tarball_is_named(magic: bytes, kind: str) -> None:
    report = as_disk(member(b"lab.img", magic + bytes(65536)))
    (reason,) = [reason for reason in report.reasons if reason.severity == "error"]
    assert reason.code == kind
    assert "qemu-img convert" in reason.next_step
    assert "tgz" not in reason.next_step


def test_an_archive_that_goes_on_behind_an_end_mark_is_warned_of() -> None:
    report = as_root(root() + bytes(512) + member(b"./lost", b"lost"))
    assert codes(report, "warn") == ["tar-end"]
    says_root(as_root(root() + bytes(1024) + b"what was in the buffer" * 40))


HOSTILE: dict[str, bytes] = {
    "a negative size": header(b"a", fields=[(124, b"\xff" * 12)]),
    "a size of 2^70": header(b"a", fields=[(124, b"\x80\0\0\x40" + bytes(8))]),
    "a map beyond the end": gnu_sparse(b"a", 4096, [(0, b"a"), (8192, b"b")]),
    "a map in data that never ends": pax((b"GNU.sparse.major", b"1")) + member(b"a", b"9" * 4096),
    "an odd map": pax((b"GNU.sparse.map", b"1,2,3")) + member(b"a", b"abc"),
    "a map of words": pax((b"GNU.sparse.map", b"one,two")) + member(b"a", b"abc"),
    "a size of words": pax((b"size", b"-1")) + member(b"a", b"abc"),
    "a pax header of 4 GiB": header(b"x", 4 * GIB, b"x"),
    "rubbish": b"rubbish!" * 64,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_tar_reads_is_refused(what: str) -> None:
    assert codes(as_root(root(extra=HOSTILE[what]))) == ["tar"]


def test_a_map_of_millions_is_refused_with_a_way_out() -> None:
    nothing = archives.octal(0) * 2
    start = header(b"lab.raw", 0, b"S", magic=b"ustar  \0", fields=[(386, nothing * 4 + b"\1")])
    block = nothing * 21 + b"\1" + bytes(7)
    assert codes(whole(gz(start + block * 60_000), "ddtgz")) == ["tar-holes"]
