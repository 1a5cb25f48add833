# SPDX-License-Identifier: Apache-2.0
"""Uploads of zstd, lz4 and virtual machines' disks become raw disks, with the real programs."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from flask import Flask

from tests.support import disks
from tests.support.archives import END, member
from tests.support.disks import MIB
from webapp import conversion
from webapp.conversion import Failed, Step
from webapp.extensions import db, settings, store
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


def virtual(folder: Path, kind: str, *options: str) -> bytes:
    """The disk as qemu-img writes it in another format."""
    raw, made = folder / "disk.raw", folder / "made"
    raw.write_bytes(DISK)
    words = ["qemu-img", "convert", "-f", "raw", "-O", FORMATS[kind], *options, raw, made]
    subprocess.run(words, check=True, capture_output=True)
    return made.read_bytes()


def send(data: bytes, **more: str) -> int:
    """An upload whose bytes are all there."""
    declared = fields.Declared("web", "amd64/generic", len(data), filetype="ddgz", **more)
    upload = uploads.create(declared, "bob")
    uploads.append(upload, [data])
    checking.inspect_early(upload)
    return upload.id


def stored() -> bytes:
    """The only image's bytes."""
    file = db.session.query(ResourceFile).one()
    assert file.filename == "root-dd.raw"
    with store().open(file.blob.sha256) as reader:
        return b"".join(reader.chunks())


def becomes_the_disk(data: bytes, kinds: list[str]) -> None:
    upload_id = send(data)
    work.work("a worker", lambda: False)
    upload = uploads.find(upload_id)
    assert (upload.state, upload.problem) == ("done", {})
    assert hashlib.sha256(stored()[: len(DISK)]).digest() == hashlib.sha256(DISK).digest()
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
}


@pytest.mark.parametrize("what", PACKED)
def test_what_machines_cannot_unpack_is_unpacked(what: str) -> None:
    becomes_the_disk(PACKED[what](), [what.split()[0]])


def test_a_tarball_in_zstd_gives_its_disk() -> None:
    becomes_the_disk(zstandard.compress(member(b"disk.raw", DISK) + END), ["zstd", "tar"])


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
    assert "8 MiB" in json.dumps(uploads.find(send(PACKED["zstd"]())).report)


def test_without_qemu_img_the_command_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "has_qemu", lambda: False)
    upload_id = send(b"QFI\xfb\0\0\0\3" + bytes(70_000))
    work.work("a worker", lambda: False)
    upload = uploads.find(upload_id)
    assert upload.state == "rejected"
    assert "qemu-img convert -f qcow2 -O raw" in upload.problem["next_step"]


@needs_qemu
def test_a_disk_that_names_another_file_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 100_000)
    for options in (["-b", secret, "-F", "raw"], ["-o", f"data_file={tmp_path / 'd'}", "1M"]):
        made = tmp_path / "made.qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *options[:0], *options[:2],
             *(["-F", "raw"] if "-F" in options else []), made, "1M"], check=True
        )  # fmt: skip
        upload_id = send(made.read_bytes())
        work.work("a worker", lambda: False)
        upload = uploads.find(upload_id)
        assert (upload.state, upload.problem["code"]) == ("failed", "upload-not-converted")
        assert "another file" in upload.problem["what"]
    text = b'# Disk DescriptorFile\nversion=1\nRW 600 FLAT "/etc/passwd" 0\n'.ljust(70_000)
    upload_id = send(text)
    work.work("a worker", lambda: False)
    assert uploads.find(upload_id).state == "failed"
    assert db.session.query(ResourceFile).all() == []


def test_what_is_damaged_or_no_disk_fails_with_a_reason() -> None:
    good = zstandard.compress(DISK)
    for data in (good[: len(good) // 2], zstandard.compress(b"text " * 9000)):
        upload_id = send(data)
        work.work("a worker", lambda: False)
        upload = uploads.find(upload_id)
        assert (upload.state, upload.problem["code"]) == ("failed", "upload-not-converted")
        assert upload.problem["next_step"]


def test_other_bytes_than_declared_are_not_converted() -> None:
    upload_id = send(zstandard.compress(DISK), sha256="0" * 64)
    work.work("a worker", lambda: False)
    upload = uploads.find(upload_id)
    assert (upload.state, upload.problem["code"]) == ("receiving", "upload-wrong-hash")


@pytest.mark.parametrize("at", ["_copy", "_raw_disk", "_keep", "receiver", "drop_bytes"])
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


# -- the child


def step(folder: Path, kind: str, data: bytes, most: int = 64 * MIB) -> Step:
    source = folder / "source"
    source.write_bytes(data)
    return Step(kind, source, folder / "target", most)


@pytest.mark.parametrize("kind", ["zstd", "lz4", "gzip"])
def test_a_bomb_stops_at_the_cap(kind: str, tmp_path: Path) -> None:
    pack = {"zstd": zstandard.compress, "lz4": lz4.frame.compress, "gzip": gzip.compress}[kind]
    with pytest.raises(Failed) as failed:
        conversion.run(step(tmp_path, kind, pack(bytes(80 * MIB))), lambda: None)
    assert failed.value.code == "too-large"
    assert (tmp_path / "target").stat().st_size <= 64 * MIB


@needs_qemu
def test_a_virtual_disk_larger_than_the_cap_stops(tmp_path: Path) -> None:
    made = tmp_path / "made.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", made, "200M"], check=True)
    with pytest.raises(Failed) as failed:
        conversion.run(step(tmp_path, "qcow2", made.read_bytes()), lambda: None)
    assert failed.value.code == "too-large"


def test_the_child_ends_with_whoever_waits(tmp_path: Path) -> None:
    class Leaves(Exception):
        pass

    def leave() -> None:
        raise Leaves

    big = step(tmp_path, "gzip", gzip.compress(bytes(512 * MIB), 1), 1 << 40)
    with pytest.raises(Leaves):
        conversion.run(big, leave)
    with pytest.raises(Failed) as failed:
        conversion.run(big, lambda: None, seconds=0)
    assert failed.value.code == "slow"
