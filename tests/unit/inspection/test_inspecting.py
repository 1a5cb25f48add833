# SPDX-License-Identifier: Apache-2.0
"""What a file really is: good ones, mixed-up ones, damaged ones, hostile ones."""

from __future__ import annotations

import bz2
import json
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from tests.support import disks
from tests.support.disks import GIB, MIB
from tests.unit.inspection.inspecting import codes, gz, pieces, whole, with_bytes, xz
from webapp.inspection import HEAD, Declared, inspect, inspect_head


@cache
def esxi6() -> bytes:
    return gz(disks.small_esxi())


# -- ESXi


@pytest.mark.parametrize(
    ("build", "purposes"),
    [
        (
            "6.7.0-3.73.14320388",
            "1 EFI system, 5 boot bank 1, 6 boot bank 2, 7 core dump, 8 locker, 9 core dump, "
            "2 scratch, 3 datastore (VMFS)",
        ),
        (
            "8.0.2-0.0.22380479",
            "1 EFI system, 5 boot bank 1, 6 boot bank 2, 7 ESX-OSData (VMFS-L), 8 datastore (VMFS)",
        ),
    ],
)
def test_each_partition_of_esxi_is_called_by_what_it_is_for(build: str, purposes: str) -> None:
    report = inspect(pieces(gz(disks.esxi_head(build))), Declared("ddgz"))
    assert report.disk is not None
    parts = sorted(report.disk.partitions, key=lambda part: part.first)
    assert ", ".join(f"{part.number} {report.purpose(part)}" for part in parts) == purposes


@pytest.mark.parametrize(
    ("build", "version", "layout"),
    [
        ("6.7.0-3.73.14320388", "6.7.0", "6"),
        ("7.0.0-1.0.15843807", "7.0.0", "7.0"),
        ("7.0.3-0.35.19482537", "7.0.3", "7"),
        ("8.0.2-0.0.22380479", "8.0.2", "7"),
        ("9.0.0-0.24755229", "9.0.0", "7"),
    ],
)
def test_an_esxi_disk_is_known_by_version_and_build(build: str, version: str, layout: str) -> None:
    head = disks.esxi_head(build, layout=layout)
    report = inspect(pieces(gz(head)), Declared("ddgz", "esxi", version))
    assert report.esxi is not None
    assert (report.esxi.version, report.esxi.layout) == (version, layout)
    assert report.esxi.build == build.rpartition(".")[2].rpartition("-")[2]
    assert report.esxi.is_prepared is True
    assert report.disk is not None
    assert report.disk.size == 32 * GIB
    assert report.suggested == {
        "filetype": "ddgz",
        "name": f"esxi/{version}",
        "title": f"VMware ESXi {version}",
        "architecture": "amd64/generic",
    }
    assert report.words == (
        f"gzip, GPT disk of 32 GiB, VMware ESXi {version} build {report.esxi.build}, "
        "prepared for deployment"
    )
    assert codes(report) == ["short"], "only a part of the disk was given"
    is_cloned = tuple(map(int, version.split("."))) >= (7, 0, 2)
    assert ("clone" in codes(report, "warn")) is is_cloned


def test_a_first_verdict_needs_one_megabyte() -> None:
    data = gz(disks.esxi_head("8.0.2-0.0.22380479"))[:HEAD]
    report = inspect_head(data, Declared("ddgz", "esxi"), 5 * GIB)
    assert report.verdict == "warn"
    assert report.esxi is not None
    assert report.disk is not None
    assert not report.is_whole


def test_a_whole_esxi_disk_is_checked_to_its_end() -> None:
    report = whole(esxi6(), "ddgz", os="esxi", release="6.7")
    assert report.verdict == "ok", report.reasons
    assert report.is_whole
    assert report.raw_size == GIB
    assert {"licence", "password"} <= set(codes(report, "info"))


def test_an_unprepared_disk_is_named_as_such() -> None:
    head = gz(disks.esxi_head("8.0.0-1.0.1", is_prepared=False))
    report = inspect(pieces(head), Declared("ddgz", "esxi", "8.0"))
    assert "not-prepared" in codes(report, "warn")
    assert "not prepared for deployment" in report.words


def test_a_name_that_says_something_else_is_pointed_out() -> None:
    head = gz(disks.esxi_head("8.0.2-0.0.22380479"))
    wrong = inspect_head(head, Declared("ddgz", "esxi", "7.0"), GIB)
    assert wrong.suggested["name"] == "esxi/8.0.2"
    by_code = {r.code: r for r in inspect(pieces(head), Declared("ddgz", "esxi", "7.0")).reasons}
    assert by_code["version"].fix == {"name": "esxi/8.0.2"}
    other = {r.code: r for r in inspect(pieces(head), Declared("ddgz", "", "web")).reasons}
    assert other["name"].fix == {"name": "esxi/8.0.2"}
    arm = {
        r.code: r for r in inspect_head(head, Declared("ddgz", "esxi", "8", "arm64"), GIB).reasons
    }
    assert arm["architecture"].fix == {"architecture": "amd64/generic"}


# -- what it is against what was said


@dataclass(frozen=True)
class Kind:
    """A file type with a file that really is one."""

    word: str
    data: bytes


@cache
def kinds() -> list[Kind]:
    disk, root = disks.linux_disk(), disks.root_tar()
    tar = disks.tarball({"disk.raw": disk})
    return [
        Kind("tgz", gz(root)),
        Kind("tbz", bz2.compress(root)),
        Kind("txz", xz(root)),
        Kind("ddtgz", gz(tar)),
        Kind("ddtbz", bz2.compress(tar)),
        Kind("ddtxz", xz(tar)),
        Kind("ddtar", tar),
        Kind("ddbz2", bz2.compress(disk)),
        Kind("ddgz", gz(disk)),
        Kind("ddxz", xz(disk)),
        Kind("ddraw", disk),
    ]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.word)
@pytest.mark.parametrize("said", [kind.word for kind in kinds()])
def test_every_mix_up_of_types_has_its_one_right_choice(kind: Kind, said: str) -> None:
    for report in (whole(kind.data, said), inspect_head(kind.data[:HEAD], Declared(said), 1 << 40)):
        assert report.suggested["filetype"] == kind.word
        if said == kind.word:
            assert codes(report) == []
        else:
            (reason,) = [r for r in report.reasons if r.severity == "error"]
            assert (reason.code, reason.fix) == ("type", {"filetype": kind.word})


def iso() -> bytes:
    return bytes(32769) + b"CD001" + bytes(20000)


WRONG: dict[str, tuple[Any, str]] = {
    "the installer": (iso, "iso"),
    "a packed installer": (lambda: gz(iso()), "iso"),
    "nothing": (lambda: b"", "empty"),
    "text": (lambda: b"This is the page of an error, not an image.\n" * 40, "text"),
    "noise": (lambda: bytes(range(256)) * 400, "unknown"),
    "a qcow2 disk": (lambda: b"QFI\xfb" + bytes(60000), "qcow2"),
    "a VMDK disk": (lambda: b"KDMV" + bytes(60000), "vmdk"),
    "a VHDX disk": (lambda: b"vhdxfile" + bytes(60000), "vhdx"),
    "a WIM": (lambda: b"MSWIM\0\0\0" + bytes(60000), "wim"),
    "a zip": (lambda: b"PK\x03\x04" + bytes(60000), "zip"),
    "a program": (lambda: disks.elf(62) + bytes(60000), "elf"),
    "squashfs": (lambda: b"hsqs" + bytes(60000), "squashfs"),
    "XFS alone": (lambda: b"XFSB" + bytes(60000), "xfs"),
    "ext4 alone": (lambda: with_bytes(bytes(60000), 1080, b"\x53\xef"), "ext4"),
    "an appliance": (lambda: disks.tarball({"vm.ovf": b"<x/>", "d.vmdk": bytes(99)}), "ova"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(60000), "compression"),
    "a plain root tarball": (disks.root_tar, "compression"),
    "cut gzip": (lambda: esxi6()[:-5000], "cut"),
    "cut before the checksum": (lambda: esxi6()[:-3], "cut"),
    "cut xz": (lambda: xz(disks.linux_disk())[:-40], "cut"),
    "cut bzip2": (lambda: bz2.compress(disks.linux_disk())[:-10], "cut"),
    "wrong CRC": (lambda: with_bytes(esxi6(), len(esxi6()) - 8, b"\0\0\0\0"), "damaged"),
    "damaged in the middle": (
        lambda: with_bytes(esxi6(), len(esxi6()) // 2, os.urandom(64)),
        "damaged",
    ),
    "rubbish behind the end": (lambda: esxi6() + b"rubbish" * 9, "damaged"),
    "a cut disk": (lambda: gz(disks.linux_disk()[: 5 * MIB]), "short"),
    "no second table": (lambda: gz(disks.linux_disk()[:-SECTOR] + bytes(SECTOR)), "backup"),
    "another second table": (
        lambda: gz(disks.linux_disk()[:-SECTOR] + disks.linux_disk(9 * MIB)[-SECTOR:]),
        "backup",
    ),
    "a damaged table": (lambda: with_bytes(disks.linux_disk(), 1024, b"\1"), "table"),
    "a damaged header": (lambda: with_bytes(disks.linux_disk(), 512 + 40, b"\1"), "table"),
    "a partition outside": (
        lambda: disks.gpt_disk(8 * MIB, [disks.Part(1, disks.LINUX, 2048, 1 << 40)]),
        "table",
    ),
    "a tarball without a shell": (lambda: gz(disks.tarball({"readme": b"x"})), "no-root"),
    "a cut root tarball": (
        lambda: gz(disks.root_tar(var__log=bytes(100_000))[:-60_000]),
        "cut-tar",
    ),
    "a damaged tarball": (
        lambda: gz(with_bytes(disks.tarball({"a": bytes(600), "bin/sh": b"x"}), 1636, b"\7" * 400)),
        "tar",
    ),
    "a table of 1 TiB": (
        lambda: gz(disks.gpt_disk(1 << 40, [disks.Part(1, disks.LINUX, 64, 99)], keep=4 * MIB)),
        "too-large",
    ),
}
SECTOR = 512


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_image_is_stopped_with_a_reason_and_a_way_out(name: str) -> None:
    make, code = WRONG[name]
    report = whole(make())
    assert report.verdict == "reject"
    assert code in codes(report), report.reasons
    reason = next(r for r in report.reasons if r.code == code)
    assert reason.message.endswith(".")
    assert reason.next_step
    json.dumps(report.as_dict())


def test_a_root_tarball_is_linted() -> None:
    good = whole(gz(disks.root_tar()), "tgz", architecture="amd64/generic")
    assert (good.verdict, good.words) == ("ok", "gzip, root file system for amd64 in a tarball")
    arm = whole(gz(disks.root_tar(183)), "tgz", architecture="amd64/generic")
    (reason,) = [r for r in arm.reasons if r.severity == "error"]
    assert reason.fix == {"architecture": "arm64/generic"}
    bare = whole(gz(disks.tarball({"bin/dash": disks.elf(62)})), "tgz")
    assert codes(bare, "warn") == ["no-kernel", "no-initrd", "no-cloud-init"]


def test_machines_are_told_apart_by_their_shell() -> None:
    for machine, arch in ((62, "amd64"), (183, "arm64"), (40, "armhf"), (21, "ppc64el")):
        assert whole(gz(disks.root_tar(machine))).suggested["architecture"] == f"{arch}/generic"
    s390 = disks.tarball({"bin/bash": disks.elf(22, is_big=True)})
    report = whole(gz(s390))
    assert report.root is not None
    assert report.root.arch == "s390x"


def test_windows_and_other_disks_are_told_by_their_table() -> None:
    report = whole(gz(disks.windows_disk()), "ddgz", os="windows")
    assert (report.verdict, report.words) == ("ok", "gzip, GPT disk of 8 MiB, Windows")
    assert "licence" in codes(report, "info")
    assert "not-windows" in codes(whole(gz(disks.linux_disk()), "ddgz", os="windows"), "warn")
    for system in ("", "custom"):
        named = whole(gz(disks.windows_disk()), "ddgz", os=system, release="win2022")
        assert [r.fix for r in named.reasons if r.code == "name"] == [{"name": "windows/win2022"}]
    wrong = whole(gz(disks.linux_disk()), "ddgz", os="esxi")
    assert [r.fix for r in wrong.reasons if r.severity == "error"] == [{"name": "custom/image"}]
    root = whole(gz(disks.root_tar()), "tgz", os="esxi")
    assert "not-esxi" in codes(root)


def test_a_disk_in_a_tarball_is_read_in_place() -> None:
    tar = disks.tarball({"note.txt": b"hello", "esxi.raw": disks.small_esxi()})
    report = whole(gz(tar), "ddtgz", os="esxi")
    assert report.disk_in_tar == "esxi.raw"
    assert report.esxi is not None
    assert report.esxi.version == "6.7.0"
    assert report.verdict == "ok", report.reasons


def test_several_gzip_members_are_one_file() -> None:
    disk = disks.linux_disk()
    half = len(disk) // 2
    assert whole(gz(disk[:half]) + gz(disk[half:]) + bytes(512), "ddgz").verdict == "ok"


# -- the command


def test_the_command_says_it_and_its_exit_code_tells(tmp_path: Any) -> None:
    from click.testing import CliRunner

    from webapp.cli.main import cli

    good, wrong = tmp_path / "good.gz", tmp_path / "wrong.gz"
    good.write_bytes(gz(disks.linux_disk()))
    wrong.write_bytes(gz(disks.root_tar()))
    done = CliRunner().invoke(cli, ["inspect", str(good), "--filetype", "ddgz"])
    assert done.exit_code == 0
    assert "Ready to upload as ddgz." in done.output
    done = CliRunner().invoke(cli, ["inspect", str(wrong), "--filetype", "ddgz", "--json"])
    assert done.exit_code == 1
    told = json.loads(done.output)
    assert (told["verdict"], told["suggested"]["filetype"]) == ("reject", "tgz")
    quick = CliRunner().invoke(cli, ["inspect", str(good), "--quick"])
    assert quick.exit_code == 0
