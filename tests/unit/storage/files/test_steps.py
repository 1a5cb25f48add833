# SPDX-License-Identifier: Apache-2.0
"""The order of steps: bytes reach the disk before the name does."""

from __future__ import annotations

import fcntl
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.stores import MIB, Harness, make_blob
from tests.unit.storage.files.paths import BLOB, PART, PATH
from webapp.storage import files, writeback
from webapp.storage.errors import BlobMismatch


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_commit_returns(
    harness: Harness, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, str]] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        steps.append(("fsync", os.readlink(f"/proc/self/fd/{fd}")))
        real_fsync(fd)

    def rename(source: Path, target: Path) -> None:
        real_rename(source, target)
        steps.append(("rename", str(target)))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    harness.put(BLOB)
    assert steps == [
        ("fsync", str(root / PART)),
        ("fsync", str(root / "sha256")),
        ("rename", str(root / PATH)),
        ("fsync", str((root / PATH).parent)),
    ]


def test_a_writer_that_waited_for_a_committed_file_starts_a_new_one(
    harness: Harness, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = harness.store.writer(BLOB.sha256, BLOB.size)
    first.write(BLOB.data)
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.commit()  # between the open of the second writer and its lock
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with harness.store.writer(BLOB.sha256, BLOB.size) as second:
        assert second.offset == 0
        second.write(b"!" * BLOB.size)
        with pytest.raises(BlobMismatch):
            second.commit()
    assert harness.get(BLOB) == BLOB.data


def test_the_kernel_is_asked_to_write_while_bytes_still_come(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(files, "STRIDE", MIB)
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, start, length, advice: asked.append((start, length))
    )
    data = bytes(5 * MIB)
    with harness.store.writer(hashlib.sha256(data).hexdigest(), len(data)) as writer:
        for start in range(0, len(data), 512 << 10):
            writer.write(data[start : start + (512 << 10)])
        writer.commit()
    writeback.finish()
    assert asked == [(start * MIB, MIB) for start in range(4)]


def test_a_process_that_is_ending_still_writes(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    monkeypatch.setattr(writeback, "_thread", ended)
    monkeypatch.setattr(files, "STRIDE", MIB)
    data = bytes(20 * MIB)
    digest = hashlib.sha256(data).hexdigest()
    with harness.store.writer(digest, len(data)) as writer:
        for start in range(0, len(data), MIB):
            writer.write(data[start : start + MIB])
        writer.commit()
    assert harness.store.verify(digest)


def test_the_kernel_is_asked_for_each_piece_of_an_upload(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, start, length, advice: asked.append((start, length))
    )
    for _ in range(3):
        with harness.store.receiver("a" * 64, 5 * MIB) as receiver:
            receiver.write(bytes(MIB))
            receiver.settle()
    writeback.finish()
    assert asked == [(start * MIB, MIB) for start in range(3)]


def test_a_truncated_file_is_never_read_to_a_wrong_end(harness: Harness, root: Path) -> None:
    blob = make_blob(3 * MIB)
    harness.put(blob)
    with harness.store.open(blob.sha256) as reader:
        pieces = reader.chunks()
        next(pieces)
        os.truncate(root / harness.store.relative_path(blob.sha256), 2 * MIB)
        next(pieces)
        with pytest.raises(BlobMismatch) as caught:
            next(pieces)
    assert caught.value.code == "blob-too-short"
