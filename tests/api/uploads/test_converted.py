# SPDX-License-Identifier: Apache-2.0
"""What MAAS clients send that machines can't boot as it is (rule: rest-uploads)."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import subprocess
from pathlib import Path

import pytest
import zstandard
from flask import Flask

from tests.api.clients import Script
from tests.api.uploads.maas import CHUNK, DAY, PATH, begin, newest, send, served, values
from tests.support import disks
from webapp import conversion
from webapp.extensions import db
from webapp.models import Event
from webapp.services.uploads import work

DISK = disks.linux_disk()
ROOT = disks.root_tar()
SERVED = "custom/amd64/generic/web/uploaded/"
needs_qemu = pytest.mark.skipif(not conversion.has_qemu(), reason="qemu-img isn't installed")


def virtual(folder: Path, *words: str) -> bytes:
    raw, made = folder / "disk.raw", folder / "made"
    raw.write_bytes(DISK)
    subprocess.run(["qemu-img", "convert", "-f", "raw", *words, raw, made], check=True)
    return made.read_bytes()


def run_worker(app: Flask) -> None:
    with app.app_context():
        work.work("a worker", lambda: False)
        db.session.remove()


def sent(script: Script, data: bytes, **changed: str) -> dict[str, object]:
    """The image after its last byte, as clients read it."""
    made = begin(script, data, **changed)
    assert send(script, made, data).text == "OK"
    found: dict[str, object] = script.get(f"{PATH}{made['id']}/").json
    return found


def test_zstd_is_complete_once_it_is_a_raw_disk(any_client: Script, app: Flask) -> None:
    data = zstandard.compress(DISK) + b"\x5a\x2a\x4d\x18" + CHUNK.to_bytes(4, "little")
    data += bytes(CHUNK)
    resource = sent(any_client, data)
    version, file = newest(resource)
    assert (version, file["complete"], file["progress"]) == (DAY, False, 100.0)
    assert "upload_uri" not in file
    assert served(app, SERVED + "root-dd.gz") is None
    run_worker(app)
    _, file = newest(any_client.get(f"{PATH}{resource['id']}/").json)
    assert (file["complete"], file["filetype"]) == (True, "root-dd.raw")
    assert file["sha256"] == hashlib.sha256(DISK).hexdigest()
    assert served(app, SERVED + "root-dd.raw") == DISK


@needs_qemu
@pytest.mark.parametrize(
    "words",
    [("-O", "qcow2"), ("-O", "vmdk"), ("-O", "vpc", "-o", "subformat=fixed,force_size")],
    ids=["qcow2", "vmdk", "fixed vhd"],
)
def test_disks_of_virtual_machines_are_converted(
    words: tuple[str, ...], admin: Script, app: Flask, tmp_path: Path
) -> None:
    resource = sent(admin, virtual(tmp_path, *words), filetype="ddraw")
    assert newest(resource)[1]["complete"] is False
    run_worker(app)
    assert served(app, SERVED + "root-dd.raw") == DISK


@needs_qemu
def test_what_shows_at_its_end_only_is_converted_afterwards(
    admin: Script, app: Flask, tmp_path: Path
) -> None:
    vhd = gzip.compress(virtual(tmp_path, "-O", "vpc", "-o", "subformat=fixed,force_size"), 1)
    resource = sent(admin, vhd)
    run_worker(app)  # inspects what is published
    run_worker(app)
    assert newest(admin.get(f"{PATH}{resource['id']}/").json)[1]["complete"] is True
    assert served(app, SERVED + "root-dd.raw") == DISK


@pytest.mark.parametrize("packed", ["", "xz", "zstd"])
def test_a_root_tarball_is_recompressed_with_gzip(packed: str, admin: Script, app: Flask) -> None:
    pack = {"": bytes, "xz": lzma.compress, "zstd": zstandard.compress}[packed]
    resource = sent(admin, pack(ROOT), filetype="tgz")
    assert newest(resource)[1]["complete"] is False
    run_worker(app)
    file = newest(admin.get(f"{PATH}{resource['id']}/").json)[1]
    assert (file["complete"], file["filename"]) == (True, "root.tgz")
    assert gzip.decompress(served(app, SERVED + "root.tgz") or b"") == ROOT


def test_a_small_file_waits_for_the_worker_too(admin: Script, app: Flask) -> None:
    data = zstandard.compress(DISK)
    declared = {k: v for k, v in values(data).items() if k not in ("sha256", "size")}
    answer = admin.post(PATH, **declared, content=data)
    assert newest(answer.json)[1]["complete"] is False
    run_worker(app)
    assert served(app, SERVED + "root-dd.raw") == DISK


def test_a_wrong_digest_is_answered_at_once(admin: Script) -> None:
    data = zstandard.compress(DISK)
    made = begin(admin, data, sha256="0" * 64)
    answer = send(admin, made, data)
    assert (answer.status_code, "given SHA256" in answer.text) == (400, True)


def test_a_file_that_cannot_be_converted_says_why(admin: Script, app: Flask) -> None:
    data = zstandard.compress(DISK)
    resource = sent(admin, data[: len(data) // 2])
    run_worker(app)
    uploaded = admin.get(f"{PATH}{resource['id']}/").json["sets"][DAY]
    assert uploaded["complete"] is False
    assert "can't be converted: the zstd stream is truncated" in uploaded["problem"]
    with app.app_context():
        event = db.session.query(Event).filter_by(kind="upload.rejected").one()
        assert "not-converted" in json.dumps(event.detail)
    assert served(app, SERVED + "root-dd.gz") is None
