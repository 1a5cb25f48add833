# SPDX-License-Identifier: Apache-2.0
"""The child that converts: its limits are real."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from tests.jobs.test_conversion import needs_qemu
from tests.support.disks import MIB
from webapp import conversion
from webapp.conversion import Failed, Step


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


def test_the_child_has_few_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from inside, by a program in the place of qemu-img."""
    probe = tmp_path / "qemu-img"
    probe.write_text(
        f"#!{sys.executable}\n"
        "import json, os, resource, socket, sys\n"
        "limits = {name: resource.getrlimit(getattr(resource, name)) for name in "
        "('RLIMIT_AS', 'RLIMIT_CPU', 'RLIMIT_FSIZE', 'RLIMIT_CORE', 'RLIMIT_NOFILE')}\n"
        "names = [name for _, name in socket.if_nameindex()]\n"
        "if sys.argv[1] == 'convert':\n"
        "    open(sys.argv[-1], 'w').write(json.dumps([limits, names, dict(os.environ)]))\n"
    )
    probe.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLIPWAY_SECRET_KEY", "secret")
    conversion.run(step(tmp_path, "vdi", bytes(512)), lambda: None)
    limits, interfaces, environment = json.loads((tmp_path / "target").read_text())
    assert limits == {
        "RLIMIT_AS": [2 << 30] * 2,
        "RLIMIT_CPU": [4 * 3600] * 2,
        "RLIMIT_FSIZE": [64 * MIB] * 2,
        "RLIMIT_CORE": [0, 0],
        "RLIMIT_NOFILE": [64, 64],
    }
    assert "SLIPWAY_SECRET_KEY" not in environment
    if conversion._without_network():
        assert interfaces == ["lo"]


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
