# SPDX-License-Identifier: Apache-2.0
"""Uploads of zstd, lz4 and virtual machines' disks become raw disks, with the real programs."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.block
import lz4.frame
import pytest
import zstandard
from flask import Flask

from tests.support import disks
from tests.support.archives import END, member
from tests.support.disks import MIB
from webapp import conversion
from webapp.api.v1.uploads import response_of
from webapp.extensions import db, settings, store
from webapp.inspection import Declared, inspect
from webapp.models import ResourceFile
from webapp.services.uploads import checking, converting, fields, uploads, work

DISK = disks.linux_disk()
FORMATS = {
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vhd": "vpc",
    "vhdx": "vhdx",
    "vdi": "vdi",
    "qed": "qed",
}
needs_qemu = pytest.mark.skipif(not conversion.has_qemu(), reason="qemu-img isn't installed")


def virtual(folder: Path, kind: str, *options: str, disk: bytes = DISK) -> bytes:
    """The disk as qemu-img writes it in another format."""
    raw, made = folder / "disk.raw", folder / "made"
    raw.write_bytes(disk)
    words = ["qemu-img", "convert", "-f", "raw", "-O", FORMATS[kind], *options, raw, made]
    subprocess.run(words, check=True, capture_output=True)
    return made.read_bytes()


def send(data: bytes, **more: str) -> int:
    """An upload whose bytes are all there."""
    more = {"filetype": "ddgz"} | more
    declared = fields.Declared("web", "amd64/generic", len(data), **more)
    upload = uploads.create(declared, "bob")
    uploads.append(upload, [data])
    checking.inspect_early(upload)
    return upload.id


def stored(filename: str = "root-dd.raw") -> bytes:
    """The only image's bytes."""
    file = db.session.query(ResourceFile).one()
    assert file.filename == filename
    with store().open(file.blob.sha256) as reader:
        return b"".join(reader.chunks())


def becomes_the_disk(data: bytes, kinds: list[str], disk: bytes = DISK) -> None:
    upload_id = send(data)
    work.work("a worker", lambda: False)
    upload = uploads.find(upload_id)
    assert (upload.state, upload.problem) == ("done", {})
    assert hashlib.sha256(stored()[: len(disk)]).digest() == hashlib.sha256(disk).digest()
    original = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "kinds": kinds}
    assert upload.original == original
    assert upload.sha256 == hashlib.sha256(stored()).hexdigest()
    assert list(store().uploads()) == []
    assert list((settings().data_dir / "conversions").iterdir()) == []


@pytest.fixture(autouse=True)
def _inside(app: Flask) -> None:
    app.app_context().push()


PACKED: dict[str, Callable[[], bytes]] = {
    "zstd": lambda: zstandard.compress(DISK),
    "zstd in frames, one of them to skip": lambda: (
        b"\x5a\x2a\x4d\x18\3\0\0\0abc"
        + zstandard.compress(DISK[: 3 * MIB])
        + zstandard.compress(DISK[3 * MIB :])
    ),
    "lz4": lambda: lz4.frame.compress(DISK),
    "lz4 in frames, one of them to skip": lambda: (
        b"\x50\x2a\x4d\x18\3\0\0\0abc"
        + lz4.frame.compress(DISK[: 3 * MIB])
        + lz4.frame.compress(DISK[3 * MIB :])
    ),
    "lz4 behind a large frame to skip": lambda: (
        b"\x50\x2a\x4d\x18" + MIB.to_bytes(4, "little") + bytes(MIB) + lz4.frame.compress(DISK)
    ),
    "lz4 as lz4 -l makes it": lambda: legacy_lz4(DISK),
}


def legacy_lz4(data: bytes) -> bytes:
    made = b"\x02\x21\x4c\x18"
    for start in range(0, len(data), 8 * MIB):
        block = lz4.block.compress(data[start : start + 8 * MIB], store_size=False)
        made += len(block).to_bytes(4, "little") + block
    return made


@pytest.mark.parametrize("what", PACKED)
def test_what_machines_cannot_unpack_is_unpacked(what: str) -> None:
    kind = "zstd" if "large" in what else what.split()[0]  # which shows only later
    becomes_the_disk(PACKED[what](), [kind])


def test_a_tarball_in_zstd_gives_its_disk() -> None:
    becomes_the_disk(zstandard.compress(member(b"disk.raw", DISK) + END), ["zstd", "tar"])


ROOT = disks.root_tar()
ROOTS: dict[str, tuple[Callable[[], bytes], str, list[str]]] = {
    "zstd": (lambda: zstandard.compress(ROOT), "ddgz", ["zstd", "tar"]),
    "lz4": (lambda: lz4.frame.compress(ROOT), "tgz", ["lz4", "tar"]),
    "xz": (lambda: lzma.compress(ROOT), "tgz", ["xz", "tar"]),
    "bzip2": (lambda: bz2.compress(ROOT), "tgz", ["bzip2", "tar"]),
    "nothing": (lambda: ROOT, "tgz", ["tar"]),
}


@pytest.mark.parametrize("what", ROOTS)
def test_a_root_tarball_is_recompressed_with_gzip(what: str) -> None:
    pack, filetype, kinds = ROOTS[what]
    data = pack()
    upload = uploads.find(send(data, filetype=filetype))
    assert "It will be recompressed with gzip" in json.dumps(upload.report)
    assert upload.report["suggested"]["filetype"] == "tgz"
    work.work("a worker", lambda: False)
    db.session.refresh(upload)
    assert (upload.state, upload.ftype, upload.problem) == ("done", "root-tgz", {})
    assert gzip.decompress(stored("root.tgz")) == ROOT
    digest = hashlib.sha256(data).hexdigest()
    assert upload.original == {"sha256": digest, "size": len(data), "kinds": kinds}
    assert response_of(upload).model_dump()["original"] == upload.original


def test_a_root_tarball_in_xz_stays_where_machines_unpack_it() -> None:
    data = lzma.compress(ROOT)
    send(data, filetype="txz")
    work.work("a worker", lambda: False)
    assert stored("root.txz") == data


def test_what_is_packed_twice_is_unpacked_once() -> None:
    inner = gzip.compress(DISK, 1)
    for data, kinds in (
        (zstandard.compress(inner), ["zstd"]),
        (gzip.compress(inner, 1), ["gzip"]),
        (lzma.compress(zstandard.compress(inner)), ["xz", "zstd"]),
    ):
        upload = uploads.find(send(data))
        work.work("a worker", lambda: False)
        db.session.refresh(upload)
        assert (upload.state, upload.ftype) == ("done", "root-dd.gz")
        assert upload.original["kinds"] == kinds
        assert upload.sha256 == hashlib.sha256(inner).hexdigest()


@needs_qemu
@pytest.mark.parametrize("kind", FORMATS)
def test_disks_of_virtual_machines_are_converted(kind: str, tmp_path: Path) -> None:
    becomes_the_disk(virtual(tmp_path, kind), [FORMATS[kind]])


@needs_qemu
def test_what_they_are_packed_in_comes_off_first(tmp_path: Path) -> None:
    becomes_the_disk(gzip.compress(virtual(tmp_path, "qcow2", "-c"), 1), ["gzip", "qcow2"])


@needs_qemu
def test_an_appliance_gives_its_disk(tmp_path: Path) -> None:
    inner = virtual(tmp_path, "vmdk", "-o", "subformat=streamOptimized")
    becomes_the_disk(
        member(b"vm.ovf", b"<x/>") + member(b"vm-disk1.vmdk", inner) + END, ["tar", "vmdk"]
    )


@needs_qemu
def test_the_forecast_is_shown_before(tmp_path: Path) -> None:
    for kind in ("qcow2", "vmdk", "vhd", "vdi", "qed"):
        upload = uploads.find(send(virtual(tmp_path, kind)))
        report = json.dumps(upload.report)
        assert "It will be converted to a raw disk of 8" in report
        assert upload.report["verdict"] == "warn"
    inner = virtual(tmp_path, "vmdk", "-o", "subformat=streamOptimized")
    appliance = member(b"vm.ovf", b"<x/>") + member(b"vm-disk1.vmdk", inner)
    for data in (
        PACKED["zstd"](),
        zstandard.ZstdCompressor(write_content_size=False).compress(DISK),  # by the disk inside
        lz4.frame.compress(bytes(100) + DISK[100:]),
        PACKED["zstd in frames, one of them to skip"](),
        PACKED["lz4 in frames, one of them to skip"](),
        appliance,
    ):
        assert "raw disk of 8 MiB" in json.dumps(uploads.find(send(data)).report)
    vhdx = send(virtual(tmp_path, "vhdx"))
    assert "How large that is shows only then" in json.dumps(uploads.find(vhdx).report)
    report = inspect(iter([virtual(tmp_path, "vhdx")]), Declared("ddraw"))
    assert report.forecast == len(DISK)


@needs_qemu
def test_the_largest_disk_of_an_appliance_is_taken_and_the_others_are_named(
    tmp_path: Path,
) -> None:
    small = tmp_path / "small.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", small, "1M"], check=True)
    data = member(b"vm.ovf", b"<x/>") + member(b"a.vmdk", small.read_bytes())
    becomes_the_disk(data + member(b"b.vmdk", virtual(tmp_path, "vmdk")) + END, ["tar", "vmdk"])
    report = inspect(iter([data + member(b"b.vmdk", virtual(tmp_path, "vmdk"))]), Declared())
    assert "It has 2 disks: only the largest" in json.dumps(report.as_dict())


def test_without_qemu_img_the_command_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "has_qemu", lambda: False)
    upload_id = send(b"QFI\xfb\0\0\0\3" + bytes(70_000))
    work.work("a worker", lambda: False)
    upload = uploads.find(upload_id)
    assert upload.state == "rejected"
    assert "qemu-img convert -f qcow2 -O raw" in upload.problem["next_step"]


@needs_qemu
def test_qcow2_with_subclusters_need_not_fill_its_last_cluster(tmp_path: Path) -> None:
    becomes_the_disk(virtual(tmp_path, "qcow2", "-o", "extended_l2=on"), ["qcow2"])


def test_other_bytes_than_declared_are_not_converted() -> None:
    upload_id = send(zstandard.compress(DISK), sha256="0" * 64)
    work.work("a worker", lambda: False)
    upload = uploads.find(upload_id)
    assert (upload.state, upload.problem["code"]) == ("receiving", "upload-wrong-hash")


@pytest.mark.parametrize("at", ["_copy", "_image", "_keep", "receiver", "drop_bytes"])
@pytest.mark.parametrize("is_before", [True, False])
def test_a_worker_that_is_killed_at_any_step_loses_nothing(
    at: str, is_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zstandard.compress(DISK)
    upload_id = send(data)
    place = {"receiver": type(store()), "drop_bytes": uploads}.get(at, converting)
    real = getattr(place, at)

    def dies(*what: Any) -> None:
        if not is_before:
            real(*what)
        raise SystemExit

    with monkeypatch.context() as killed:
        killed.setattr(place, at, dies)
        killed.setattr(converting.shutil, "rmtree", lambda *_, **__: None)  # no clean-up
        with pytest.raises(SystemExit):
            work.work("a worker", lambda: False)
    db.session.rollback()
    checking.release(upload_id, "a worker")
    work.work("another", lambda: False)
    upload = uploads.find(upload_id)
    assert (upload.state, stored()) == ("done", DISK)
    assert upload.original["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_worker_that_leaves_lets_another_convert() -> None:
    upload_id = send(zstandard.compress(DISK))
    asked = 0

    def leaves() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    work.work("a worker", leaves)
    upload = uploads.find(upload_id)
    assert (upload.state, upload.claimed_by, upload.original) == ("checking", "", {})
    work.work("another", lambda: False)
    assert (uploads.find(upload_id).state, stored()) == ("done", DISK)


def test_a_full_disk_is_reported_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = send(zstandard.compress(DISK))
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as full:
        full.setattr(converting.shutil, "disk_usage", lambda _: usage._replace(free=1))
        work.work("a worker", lambda: False)
    upload = uploads.find(upload_id)
    assert (upload.state, upload.problem["code"]) == ("checking", "store-full")
    checking.release(upload_id, "a worker")
    work.work("a worker", lambda: False)
    assert uploads.find(upload_id).state == "done"
