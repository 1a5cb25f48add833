# SPDX-License-Identifier: Apache-2.0
"""A running Slipway serves what it holds to another site, from both of its ports."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.live import LiveSlipway, wait_until

pytestmark = pytest.mark.slow


def tarball(path: Path) -> bytes:
    """A root file system that is too large for one answer from memory."""
    filling = random.Random(7).randbytes(300_000)
    release = b'ID=ubuntu\nVERSION_ID="24.04"\n'
    with tarfile.open(path, "w:gz") as file:
        for name, content in (("bin/sh", filling), ("etc/os-release", release)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            file.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def test_an_upload_is_published_and_copied_by_another_machine(
    make_live: Callable[..., LiveSlipway], tmp_path: Path
) -> None:
    slipway = make_live({"SLIPWAY_DEFAULTS": "off"})
    data = tarball(tmp_path / "golden.tgz")
    slipway.cli("upload", str(tmp_path / "golden.tgz"), "--name", "golden")
    wait_until(lambda: "1 image," in slipway.cli("mirror", "status"), "it's published")
    (tmp_path / "key.asc").write_text(slipway.cli("mirror", "key"))
    for name, url in (("rack", slipway.rack_url), ("web", slipway.web_url)):
        copy = tmp_path / name
        pull = ("mirror", "pull", f"{url}mirror/", str(copy), "--keyring")
        slipway.cli(*pull, str(tmp_path / "key.asc"))
        [stored] = [path for path in copy.glob("sha256/*/*")]
        assert stored.read_bytes() == data
        assert stored.parent.name == hashlib.sha256(data).hexdigest()
    wait_until(lambda: "127.0.0.1" in slipway.cli("mirror", "status"), "the reader is noted")
