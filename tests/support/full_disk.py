# SPDX-License-Identifier: Apache-2.0
"""A disk that is really full: a small file system of its own (rule: full-disk)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A folder with a file system of so many bytes in it; skips where that isn't allowed."""
    folder = Path(tempfile.mkdtemp(prefix="slipway-disk-", dir="/tmp"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        if mounted.returncode:
            pytest.skip(f"this user may not mount a small disk: {mounted.stderr.strip()}")
        yield folder
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(disk: Path) -> Path:
    """Use up the disk to the last byte; returns the file to delete."""
    path = disk / "filling"
    with path.open("ab", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert shutil.disk_usage(disk).free == 0
    return path
