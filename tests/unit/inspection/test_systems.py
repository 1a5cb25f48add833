# SPDX-License-Identifier: Apache-2.0
"""Disks with real file systems, made by the tools that make them elsewhere."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import disks
from tests.support.disks import BASIC, LINUX, MIB, SECTOR, Part
from tests.unit.inspection.inspecting import codes, gz, whole
from webapp.inspection import Report, ext4, ntfs, xfs

SBIN = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True, env=SBIN)


def make_ntfs(folder: Path, *names: str, size: int = 16 * MIB) -> bytes:
    """An NTFS volume with files of these names in its root."""
    image = folder / "volume.ntfs"
    image.write_bytes(b"")
    os.truncate(image, size)
    run("mkntfs", "--force", "--fast", "--quiet", image)
    for name in names:
        (folder / "file").write_bytes(name.encode())
        run("ntfscp", "--force", image, folder / "file", name)
    return image.read_bytes()


def make_ext(folder: Path, *names: str, kind: str = "ext4", options: str = "") -> bytes:
    """A Linux volume with folders of these names in its root."""
    root = folder / f"root-{len(names)}"
    for name in names:
        (root / name).mkdir(parents=True)
    root.mkdir(exist_ok=True)
    image = folder / f"volume.{kind}"
    image.unlink(missing_ok=True)
    extra = options.split()
    run("mkfs", "-t", kind, "-q", "-F", *extra, "-d", root, image, "24M")
    return image.read_bytes()


def make_xfs(folder: Path, *names: str, options: str = "") -> bytes:
    """An XFS volume, as RHEL has them, with folders of these names in its root."""
    recipe, image = folder / "recipe", folder / "volume.xfs"
    inside = "".join(f"{name} d--755 0 0\n$\n" for name in names)
    recipe.write_text(f"/boot\n0 0\nd--755 0 0\n{inside}$\n")
    image.write_bytes(b"")
    os.truncate(image, 32 * MIB)
    # Today's tools make no such small ones unless they are told that it is for a test.
    run("mkfs.xfs", "-q", "-f", "--unsupported", *options.split(), "-p", recipe, image)
    return image.read_bytes()


def xfs_names(image: bytes) -> set[str]:
    """All names in the root of a volume."""
    volume = xfs.read_volume(image[: xfs.SUPER])
    assert volume is not None
    folder = xfs.read_folder(image[volume.root_place :][: volume.inode], volume)
    assert folder is not None
    blocks = (xfs.names(image[place : place + size], volume) for place, size in folder.runs)
    return folder.names.union(*blocks)


def on_a_disk(*volumes: bytes, kind: str = BASIC) -> bytes:
    """A disk with these volumes, each in a partition of its own."""
    parts, first = [], 2048
    for number, volume in enumerate(volumes, 1):
        last = first + len(volume) // SECTOR - 1
        parts.append(Part(number, kind, first, last, "", volume))
        first = last + 1
    return disks.gpt_disk((first + 2048) * SECTOR, parts)


def judged(disk: bytes, os: str = "windows") -> Report:
    return whole(gz(disk), "ddgz", os=os)


def test_windows_with_all_that_a_deployment_needs(tmp_path: Path) -> None:
    volume = make_ntfs(tmp_path, "curtin", "cloudbase-init.conf", "bootmgr")
    report = judged(on_a_disk(volume))
    assert report.words == "gzip, GPT disk of 18 MiB, Windows, prepared for deployment"
    assert (report.system.kind, report.system.has_cloud_init) == ("windows", True)
    assert report.verdict == "ok", report.reasons


def test_windows_without_hooks_or_cloud_init_is_warned_of(tmp_path: Path) -> None:
    plain = judged(on_a_disk(make_ntfs(tmp_path, "bootmgr")))
    assert codes(plain, "warn") == ["not-prepared", "no-cloud-init"]
    assert plain.words.endswith("Windows, not prepared for deployment")
    # A file of that name in another folder is not what the installer looks for.
    named = make_ntfs(tmp_path, "curtin")
    elsewhere = named.replace(
        (5).to_bytes(6, "little") + b"\x05\0", (11).to_bytes(6, "little") + b"\x05\0"
    )
    assert "not-prepared" in codes(judged(on_a_disk(elsewhere)), "warn")


def test_any_partition_may_hold_them(tmp_path: Path) -> None:
    recovery = make_ntfs(tmp_path, "boot.wim")
    system = make_ntfs(tmp_path, "curtin", "Cloudbase-Init.log")
    assert judged(on_a_disk(recovery, system)).verdict == "ok"


def test_names_beyond_the_first_piece_of_a_table_are_found(tmp_path: Path) -> None:
    volume = make_ntfs(tmp_path, *(f"file {number}" for number in range(120)), "curtin")
    report = judged(on_a_disk(volume))
    assert report.system.has_curtin is True
    assert codes(report, "warn") == ["no-cloud-init"]


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
@pytest.mark.parametrize("options", ["", "-b 1024", "-I 128"])
def test_linux_disks_tell_whether_they_are_prepared(
    tmp_path: Path, kind: str, options: str
) -> None:
    volume = make_ext(tmp_path, "etc", "curtin", kind=kind, options=options)
    good = judged(on_a_disk(volume, kind=LINUX), os="custom")
    assert good.words == "gzip, GPT disk of 26 MiB, Linux, prepared for deployment"
    assert good.verdict == "ok", good.reasons
    volume = make_ext(tmp_path, "etc", kind=kind, options=options)
    bad = judged(on_a_disk(volume, kind=LINUX), os="custom")
    assert codes(bad, "warn") == ["not-prepared"]


XFS = ["", "-m crc=0", "-m crc=0 -n ftype=0", "-b size=1024", "-n size=8192", "-i size=1024"]


@pytest.mark.parametrize("options", [*XFS, "-i nrext64=1", "-d agcount=2"])
@pytest.mark.parametrize("others", [2, 60, 700])  # in the inode, in one block, in many
def test_disks_of_rhel_tell_whether_they_are_prepared(
    tmp_path: Path, options: str, others: int
) -> None:
    more = [f"folder-{number}" for number in range(others)]
    volume = make_xfs(tmp_path, *more, "curtin", options=options)
    assert xfs_names(volume) - {".", ".."} == {*more, "curtin"}
    good = judged(on_a_disk(volume, kind=LINUX), os="custom")
    assert good.words == "gzip, GPT disk of 34 MiB, Linux, prepared for deployment"
    volume = make_xfs(tmp_path, *more, "curtin2", options=options)
    bad = judged(on_a_disk(volume, kind=LINUX), os="custom")
    assert codes(bad, "warn") == ["not-prepared"]


def test_a_file_system_that_is_not_read_gives_no_warning(tmp_path: Path) -> None:
    volume = make_ext(tmp_path, "etc")
    other = b"_BHRfS_M".rjust(0x10048, b"\0").ljust(MIB, b"\0")  # btrfs
    report = judged(on_a_disk(volume, other, kind=LINUX), os="custom")
    assert report.system.has_curtin is None
    assert report.verdict == "ok"
    assert report.words == "gzip, GPT disk of 27 MiB, Linux on btrfs"
    assert codes(report, "info") == ["not-read"]


def test_what_cannot_be_seen_whole_gives_no_warning(tmp_path: Path) -> None:
    volume = bytearray(make_ntfs(tmp_path))
    found = ntfs.read_volume(bytes(volume[:512]))
    assert found is not None
    record = bytes(volume[found.table : found.table + found.record])
    assert ntfs.table_runs(record, found)
    data = record.index(bytes((0x80, 0, 0, 0)), 56)
    volume[found.table + data + 40 + 4] = 1  # 4 GiB more than its runs tell
    torn = judged(on_a_disk(bytes(volume)))
    assert torn.system.has_curtin is None
    assert "not-prepared" not in codes(torn, "warn")
    inode = struct.pack("<H", 0o40755).ljust(32, b"\0") + struct.pack("<I", 0x10000000)
    assert ext4.folder_runs(inode.ljust(256, b"\1"), ext4.Volume(4096, 256, 4096, True)) == []


def test_the_first_megabyte_alone_judges_no_file_system(tmp_path: Path) -> None:
    data = gz(on_a_disk(make_ntfs(tmp_path)))
    cut = whole(data[: len(data) // 2], "ddgz", os="windows")
    assert "not-prepared" not in codes(cut, "warn")


@given(
    st.integers(0, 1 << 20),
    st.lists(st.tuples(st.integers(0, 4095), st.binary(min_size=1, max_size=40)), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_no_bytes_bring_it_down(seed: int, damage: list[tuple[int, bytes]]) -> None:
    boot = bytearray(4096)
    boot[3:11] = b"NTFS    "
    boot[11:14] = b"\0\2\1"
    boot[48] = 4
    boot[64] = 0xF6
    boot[1024 + 56 : 1024 + 58] = b"\x53\xef"
    boot[2048:2052] = b"FILE"
    boot[2052:2056] = b"\x30\0\3\0"
    boot[2048 + 20] = 56
    boot[2048 + 22] = 1
    boot[2048 + 56 : 2048 + 64] = bytes((0x80, 0, 0, 0, 80, 0, 0, 0))
    for place, data in damage:
        boot[place : place + len(data)] = data[: 4096 - place]
    bytes_of = bytes(boot)
    disk = on_a_disk((bytes_of * (MIB // 4096))[:MIB])
    whole(disk, "ddraw", os="windows")
    for volume in (ntfs.read_volume(bytes_of), ntfs.Volume(512, 1024, 2048)):
        if volume is not None:
            ntfs.table_runs(bytes_of[2048:3072], volume)
            list(ntfs.names(bytes_of, volume))
    linux = ext4.read_volume(bytes_of[1024:])
    if linux is not None:
        ext4.root_inode(bytes_of[:64], linux)
        ext4.folder_runs(bytes_of[: linux.inode], linux)
    ext4.names(bytes_of[seed % 4096 :])


@pytest.fixture(scope="module", params=[0, 60])
def xfs_volume(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folders = (f"folder-{number}" for number in range(request.param))
    return make_xfs(tmp_path_factory.mktemp("xfs"), *folders)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_damage_to_a_volume_of_rhel_brings_it_down(
    xfs_volume: bytes, data: st.DataObject
) -> None:
    def damaged(part: bytes) -> bytes:
        made = bytearray(part)
        places = st.integers(0, len(part) - 1)
        for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
            made[place] = byte
        return bytes(made)

    good = xfs.read_volume(xfs_volume[: xfs.SUPER])
    assert good is not None
    volume = xfs.read_volume(damaged(xfs_volume[: xfs.SUPER]))
    if volume is not None:
        assert volume.root_place >= 0
    inode = damaged(xfs_volume[good.root_place :][: good.inode])
    for one in (volume, good):
        folder = xfs.read_folder(inode, one) if one is not None else None
        for place, size in folder.runs if folder is not None else ():
            assert 0 < size <= MIB
            xfs.names(damaged(xfs_volume[place : place + size] or b"?"), good)
