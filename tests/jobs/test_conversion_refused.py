# SPDX-License-Identifier: Apache-2.0
"""Uploads that look convertible, and are not: each is refused with its reason."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
import zstandard
from flask import Flask

from tests.jobs.test_conversion import DISK, FORMATS, becomes_the_disk, needs_qemu, send, virtual
from tests.support.disks import MIB
from webapp.extensions import db
from webapp.models import ResourceFile
from webapp.services.uploads import uploads, work


@pytest.fixture(autouse=True)
def _inside(app: Flask) -> None:
    app.app_context().push()


def refused(data: bytes) -> str:
    """Why the worker doesn't convert it."""
    upload = uploads.find(send(data))
    work.work("a worker", lambda: False)
    db.session.refresh(upload)
    assert (upload.state, upload.problem["code"]) == ("rejected", "upload-not-converted")
    assert upload.problem["next_step"]
    assert list(db.session.query(ResourceFile)) == []
    what: str = upload.problem["what"]
    return what


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
        assert (upload.state, upload.problem["code"]) == ("rejected", "upload-not-converted")
        assert "another file" in upload.problem["what"]
    text = b'# Disk DescriptorFile\nversion=1\nRW 600 FLAT "/etc/passwd" 0\n'.ljust(70_000)
    upload_id = send(text)
    work.work("a worker", lambda: False)
    assert uploads.find(upload_id).state == "rejected"
    assert db.session.query(ResourceFile).all() == []


@needs_qemu
def test_a_part_of_a_disk_is_refused(tmp_path: Path) -> None:
    raw, base = tmp_path / "disk.raw", tmp_path / "base.vmdk"
    base.write_bytes(virtual(tmp_path, "vmdk"))
    child, flat, split = tmp_path / "child.vmdk", tmp_path / "flat.vmdk", tmp_path / "split.vmdk"
    create = ["qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, child]
    subprocess.run(create, check=True)
    for subformat, made in (("monolithicFlat", flat), ("twoGbMaxExtentSparse", split)):
        words = ["-O", "vmdk", "-o", f"subformat={subformat}", raw, made]
        subprocess.run(["qemu-img", "convert", "-f", "raw", *words], check=True)
    vhd = bytearray(virtual(tmp_path, "vhd"))
    vhd[63] = vhd[len(vhd) - 512 + 63] = 4  # the type of one that has a parent
    extent = (tmp_path / "split-s001.vmdk").read_bytes()
    for data in (child.read_bytes(), flat.read_bytes().ljust(70_000), extent, bytes(vhd)):
        assert "another file" in refused(data)


@needs_qemu
@pytest.mark.parametrize("method", [1, 2], ids=["aes", "luks"])
def test_an_encrypted_disk_is_refused(method: int, tmp_path: Path) -> None:
    disk = bytearray(virtual(tmp_path, "qcow2"))
    disk[32:36] = method.to_bytes(4, "big")
    assert "it is encrypted" in refused(bytes(disk))


@needs_qemu
@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "qed", "vhdx"])
def test_a_truncated_virtual_disk_is_refused(kind: str, tmp_path: Path) -> None:
    """qemu-img itself would read zeros where the file ends."""
    noise = bytearray(DISK)
    noise[5 * MIB : 6 * MIB] = random.Random(1).randbytes(MIB)
    whole = virtual(tmp_path, kind, disk=bytes(noise))
    becomes_the_disk(whole, [FORMATS[kind]], bytes(noise))
    db.session.query(ResourceFile).delete()
    for cut in (512, 300_000):
        assert "can't be converted" in refused(whole[:-cut])


@needs_qemu
def test_a_disk_that_claims_to_be_huge_is_refused_before(tmp_path: Path) -> None:
    huge = bytearray(virtual(tmp_path, "qcow2"))
    huge[24:32] = (1 << 62).to_bytes(8, "big")
    assert "the maximum is 256 GiB" in refused(bytes(huge))


def test_a_window_of_2_gib_is_not_reserved() -> None:
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\1\0\0"
    assert "more than 128 MiB of memory" in refused(frame)


def test_what_is_damaged_or_no_disk_fails_with_a_reason() -> None:
    good = zstandard.compress(DISK)
    for data in (good[: len(good) // 2], zstandard.compress(b"text " * 9000)):
        upload_id = send(data)
        work.work("a worker", lambda: False)
        upload = uploads.find(upload_id)
        assert (upload.state, upload.problem["code"]) == ("rejected", "upload-not-converted")
        assert upload.problem["next_step"]
