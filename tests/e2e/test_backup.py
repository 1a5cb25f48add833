# SPDX-License-Identifier: Apache-2.0
"""``slipway backup`` and ``restore`` as people type them, also when they are killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import commands, databases, disks
from tests.support.databases import Databases
from tests.support.live import SLIPWAY, LiveSlipway, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
NAME = "images/custom/amd64/generic/lab/uploaded/root-dd.raw"
CALM = {"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"}


def killed_when(slipway: LiveSlipway, args: list[str], path: Path, env: dict[str, str]) -> None:
    """Start a command and kill it as soon as a path is there."""
    process = subprocess.Popen([str(SLIPWAY), *args], env={**slipway.env, **env})
    wait_until(path.exists, str(path), alive=lambda: process.poll() is None)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def failed(slipway: LiveSlipway, *args: str, **env: str) -> str:
    """Run a command that must fail, and return what it says."""
    done = commands.run(args, {**slipway.env, **env})
    words = done.stderr.decode()
    assert done.returncode == 1
    assert "Traceback" not in words
    return words


def test_a_killed_backup_is_none_and_a_killed_restore_is_repeated(
    make_live: Callable[..., LiveSlipway],
    engine_databases: Databases,
    tmp_path: Path,
) -> None:
    slipway = make_live(CALM)
    file = tmp_path / "lab.raw"
    file.write_bytes(disks.linux_disk(48 << 20))
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    slipway.cli("upload", str(file), "--name", "lab", "--filetype", "ddraw")
    backup = tmp_path / "backup.tar"
    partial = tmp_path / ".backup.tar.partial"
    killed_when(slipway, ["backup", "--with-bytes", str(backup)], partial / "backup.tar", {})
    assert not backup.exists()
    assert "isn't a complete backup" in failed(slipway, "backup", "verify", str(partial))
    made = json.loads(slipway.cli("backup", "--with-bytes", str(backup), "--json"))
    assert made["kept"] == 1
    assert not partial.exists()
    assert slipway.cli("backup", "verify", str(backup)).startswith("Complete: ")

    assert slipway.stop() == 0
    is_sqlite = databases.default_engine() == "sqlite"
    left = sorted(path.name for path in slipway.data_dir.glob("*.db*"))
    assert left == (["queue.db", "slipway.db"] if is_sqlite else ["queue.db"])
    for path in slipway.data_dir.glob("*.db"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    there = tmp_path / "there"
    moved = {"SLIPWAY_DATA_DIR": str(there)}
    if databases.default_engine() == "postgres":
        moved["SLIPWAY_DATABASE_URL"] = engine_databases.empty()
    unfinished = there / "restore.unfinished"
    loaded = "slipway.db" if is_sqlite else "restore.unfinished/database"
    for moment in ("restore.unfinished", "restore.unfinished/begun", loaded, "store"):
        killed_when(slipway, ["restore", str(backup)], there / moment, moved)
        for command in (["run"], ["db", "upgrade"], ["web"]):
            before = sorted(there.iterdir())
            assert "restore into this data folder" in failed(slipway, *command, **moved)
            assert sorted(there.iterdir()) == before
    other = tmp_path / "other.tar"
    slipway.cli("backup", str(other))
    assert "another backup, was interrupted" in failed(slipway, "restore", str(other), **moved)
    (there / "mine").write_text("mine")
    assert "isn't empty" in failed(slipway, "restore", str(backup), **moved)
    (there / "mine").unlink()
    if not is_sqlite:
        elsewhere = {**moved, "SLIPWAY_DATA_DIR": str(tmp_path / "another")}
        elsewhere["SLIPWAY_STORE_DIR"] = str(there / "store")
        assert "into this database" in failed(slipway, "db", "upgrade", **elsewhere)
        elsewhere = {**moved, "SLIPWAY_DATABASE_URL": engine_databases.empty()}
        assert "another database" in failed(slipway, "restore", str(backup), **elsewhere)
    slipway.env.update(moved)
    assert "Restored" in slipway.cli("restore", str(backup))
    assert not unfinished.exists()
    slipway.start()
    with urllib.request.urlopen(slipway.rack_url + NAME, timeout=60) as answer:
        assert hashlib.file_digest(answer, "sha256").hexdigest() == digest
