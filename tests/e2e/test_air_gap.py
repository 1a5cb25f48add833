# SPDX-License-Identifier: Apache-2.0
"""Two sites without a network between them: what one holds, the other one serves."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_local_mirror import tarball
from tests.support import commands
from tests.support.live import LiveSlipway, wait_until

pytestmark = pytest.mark.slow


def kill_when(slipway: LiveSlipway, condition: Callable[[], bool], *args: str) -> None:
    """Start a command, and kill it once the condition holds or it has ended."""
    running = commands.start(args, slipway.env, slipway.data_dir / "killed.log")
    wait_until(lambda: condition() or running.poll() is not None, "the command is under way")
    if running.poll() is None:
        running.send_signal(signal.SIGKILL)
    running.wait()


def test_images_are_carried_to_a_site_without_a_network(
    make_live: Callable[..., LiveSlipway], tmp_path: Path
) -> None:
    here, there = (make_live({"SLIPWAY_DATA_DIR": str(tmp_path / name)}) for name in "ab")
    data = tarball(tmp_path / "golden.tgz")
    here.cli("upload", str(tmp_path / "golden.tgz"), "--name", "golden")
    wait_until(lambda: "1 image," in here.cli("mirror", "status"), "it's published")
    out = tmp_path / "usb"
    bundle = ("mirror", "bundle", str(out), "--split", "2K")
    kill_when(here, lambda: (out / "piece-0003").exists(), *bundle)
    if not (out / "bundle.sjson").exists():
        assert "Bundled 1 image" in here.cli(*bundle)
    fingerprint = json.loads(here.cli("mirror", "status", "--json"))["fingerprint"]

    refused = commands.run(("mirror", "load", str(out)), there.env)
    assert refused.returncode != 0
    assert fingerprint in refused.stderr.decode()
    assert "--keyring FILE" in refused.stderr.decode()
    loaded = tmp_path / "b" / "loaded" / "bundle"
    (tmp_path / "site-a.gpg").write_text(here.cli("mirror", "key"))
    load = ("mirror", "load", str(out), "--keyring", str(tmp_path / "site-a.gpg"))
    assert not loaded.exists()
    assert "Loaded 1 image of" in there.cli(*load)
    [image] = json.loads(there.cli("image", "available", "--json"))["items"]
    there.cli("image", "select", f"{image['os']}/{image['release']}", "--import")
    digest = hashlib.sha256(data).hexdigest()
    wait_until(lambda: digest in there.cli("mirror", "held"), "it's imported")
    assert "golden" in there.cli("image", "list")

    (tmp_path / "site-b.json").write_text(there.cli("mirror", "held"))
    here.cli("upload", str(tmp_path / "golden.tgz"), "--name", "silver")
    wait_until(lambda: "2 images," in here.cli("mirror", "status"), "both are published")
    delta = tmp_path / "delta"
    words = here.cli("mirror", "bundle", str(delta), "--since", str(tmp_path / "site-b.json"))
    assert "1 file that the other side has is left out" in words
    assert sum(path.stat().st_size for path in delta.iterdir()) < len(data) / 4
    assert "Loaded 2 images" in there.cli("mirror", "load", str(delta))
