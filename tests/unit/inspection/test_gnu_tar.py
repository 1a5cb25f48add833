# SPDX-License-Identifier: Apache-2.0
"""GNU tar unpacks the images on the machines, so it decides what is a good tarball."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import archives, disks
from tests.support.archives import END, header, member, pax
from tests.support.disks import MIB
from tests.unit.inspection.inspecting import codes, whole

pytestmark = pytest.mark.skipif(
    "GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, text=True).stdout,
    reason="the tar here isn't GNU tar",
)
LINUX = [disks.Part(1, disks.LINUX, 2048, 3071, "lab")]
DAMAGED = {"tar", "cut-tar", "tar-holes", "damaged"}
BOUNDED = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def unpacks(tar: bytes) -> bool:
    """Whether GNU tar -x takes it without a complaint."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["tar", "--no-same-owner", "-xf", "-", "-C", folder], input=tar, capture_output=True
        )
        return done.returncode == 0


def same_as_unpacked(tar: bytes) -> None:
    """A tarball with a disk gives the facts of the bytes that tar -xO writes."""
    raw = subprocess.run(["tar", "-xOf", "-"], input=tar, capture_output=True, check=True).stdout
    inside, alone = whole(tar), whole(raw)
    assert inside.disk == alone.disk
    assert inside.system == alone.system
    assert codes(inside) == codes(alone)


NAMES = st.text("abcdé ./-", min_size=1, max_size=120).map(str.encode)
CONTENT = st.binary(max_size=1500)
KINDS = st.sampled_from([b"0", b"\0", b"1", b"2", b"5", b"7", b"Q", b"A", b"D", b"V", b"S"])
MAGIC = st.sampled_from([b"ustar\x0000", b"ustar  \0", b"", b"ustar\0\0\0"])
KEYS = st.sampled_from([b"path", b"linkpath", b"size", b"comment", b"SCHILY.xattr.user.a"])


@st.composite
def members(draw: st.DrawFn) -> bytes:
    """One member in any dialect, with any headers before it."""
    data = draw(CONTENT)
    made = b""
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from("LKxXg"))
        if kind in "LK":
            made += member(b"././@LongLink", draw(NAMES) + b"\0", kind.encode())
        else:
            key = draw(KEYS)
            value = b"%d" % len(data) if key == b"size" else draw(NAMES)
            made += pax((key, value), kind=kind.encode())
    size = draw(st.sampled_from([len(data), len(data), 0]))
    kind_of = draw(KINDS)
    link = draw(NAMES)[:90]
    return made + header(
        draw(NAMES)[:90], size, kind_of, magic=draw(MAGIC), link=link
    ) + archives.padded(data)  # fmt: skip


@BOUNDED
@given(st.lists(members(), min_size=1, max_size=4), st.sampled_from([END, b"", bytes(512)]))
def test_what_tar_unpacks_is_never_called_damaged(parts: list[bytes], end: bytes) -> None:
    tar = b"".join(parts) + end
    if unpacks(tar):
        assert not DAMAGED & set(codes(whole(tar))), "tar -x takes it"


@BOUNDED
@given(st.data())
def test_changed_bytes_are_judged_no_harder_than_by_tar(data: st.DataObject) -> None:
    pieces = [(0, b"k" * 4096), (40960, b"k" * 512)]
    dialect = data.draw(st.sampled_from(["0.0", "0.1", "1.0"]))
    tar = bytearray(
        member(b"a", b"first" * 50)
        + archives.gnu_sparse(b"b", 49152, pieces)
        + archives.pax_sparse(dialect, b"c", 49152, pieces)
        + pax((b"path", b"d" * 150), (b"size", b"300"))
        + member(b"e", b"e" * 300)
        + END
    )
    for _ in range(data.draw(st.integers(1, 3))):
        tar[data.draw(st.integers(0, len(tar) - 1))] = data.draw(st.integers(0, 255))
    if unpacks(bytes(tar)):
        assert not DAMAGED & set(codes(whole(bytes(tar)))), "tar -x takes it"


@st.composite
def sparse_disks(draw: st.DrawFn) -> bytes:
    """A disk with data here and there."""
    disk = bytearray(disks.gpt_disk(4 * MIB, LINUX))
    for page in draw(st.sets(st.integers(257, 900), max_size=60)):
        disk[page * 4096 : page * 4096 + 4096] = b"data" * 1024
    cut = draw(st.sampled_from([0, 0, 512, MIB, 3 * MIB]))
    return bytes(disk[: len(disk) - cut])


@BOUNDED
@given(sparse_disks(), st.sampled_from(["gnu", "star", "0.0", "0.1", "1.0"]))
def test_a_sparse_disk_is_the_one_that_tar_writes(disk: bytes, dialect: str) -> None:
    pieces = archives.pieces_of(disk)
    if dialect in ("gnu", "star"):
        make = archives.gnu_sparse if dialect == "gnu" else archives.star_sparse
        tar = make(b"disk.raw", len(disk), pieces)
    else:
        tar = archives.pax_sparse(dialect, b"disk.raw", len(disk), pieces)
    same_as_unpacked(tar + END)


WAYS = [
    *(["--format=" + form, *more] for form in ("oldgnu", "gnu", "pax") for more in ([], ["-S"])),
    *(["--format=pax", "-S", "--sparse-version=" + v] for v in ("0.0", "0.1", "1.0")),
    ["--format=pax", "--pax-option=globexthdr.name=g,comment:=all"],
    ["--format=v7"],
    ["--format=ustar"],
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_what_gnu_tar_packs_is_read(way: list[str], tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.write(disks.gpt_disk(8 * MIB, LINUX, keep=2 * MIB))
        file.truncate(8 * MIB - 33 * 512)
        file.seek(0, os.SEEK_END)
        file.write(disks.gpt_disk(8 * MIB, LINUX)[-33 * 512 :])
    made = subprocess.run(
        ["tar", *way, "-C", tmp_path, "-cf", "-", "disk.raw"], capture_output=True, check=True
    ).stdout
    report = whole(made, "ddtar")
    assert (report.verdict, report.disk_in_tar) == ("ok", "disk.raw")
    same_as_unpacked(made)


@pytest.mark.parametrize("way", WAYS[:9], ids=" ".join)
def test_a_root_that_gnu_tar_packs_is_clean(way: list[str], tmp_path: Path) -> None:
    deep = tmp_path / ("l" * 90) / ("m" * 90)
    for folder in ("boot", "bin", "usr/bin", "var/log"):
        (tmp_path / folder).mkdir(parents=True)
    deep.mkdir(parents=True)
    (deep / ("n" * 90)).write_text("long")
    (tmp_path / "bin/dash").write_bytes(disks.elf(62))
    os.link(tmp_path / "bin/dash", tmp_path / "bin/sh")
    os.mkfifo(tmp_path / "var/initctl")
    for name in (
        "boot/vmlinuz-6.8",
        "boot/initrd.img-6.8",
        "usr/bin/cloud-init",
        "var/log/lastlog",
    ):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2 * MIB)
            file.seek(MIB)
            file.write(b"x" * 4096)
    made = subprocess.run(["tar", *way, "-C", tmp_path, "-czf", "-", "."], capture_output=True)
    assert made.returncode == 0
    report = whole(made.stdout, "tgz")
    assert report.reasons == []
    assert report.root is not None
    assert report.root.arch == "amd64"
