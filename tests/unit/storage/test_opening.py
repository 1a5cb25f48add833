# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from webapp.storage.base import checked_digest, checked_range, checked_size
from webapp.storage.database import DatabaseStore
from webapp.storage.errors import SPARE, StoreFull, StoreProblem, free_of, problem_of
from webapp.storage.filesystem import FilesystemStore
from webapp.storage.opening import open_store

ENGINE = create_engine("sqlite://")


def test_each_kind_is_opened(tmp_path: Path) -> None:
    assert isinstance(open_store("filesystem", tmp_path / "store", ENGINE), FilesystemStore)
    assert isinstance(open_store("database", tmp_path / "none", ENGINE), DatabaseStore)
    assert not (tmp_path / "none").exists()


def test_a_folder_is_not_made_when_it_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StoreProblem):
        open_store("filesystem", tmp_path / "store", ENGINE, is_first_start=lambda: False)
    open_store("filesystem", tmp_path / "store", ENGINE)
    open_store("filesystem", tmp_path / "store", ENGINE, is_first_start=lambda: False)


def test_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreProblem) as caught:
        open_store("floppy", tmp_path, ENGINE)
    assert "floppy" in caught.value.got
    assert "SLIPWAY_STORE" in caught.value.next_step


def test_what_is_checked_comes_back() -> None:
    assert checked_digest("ab" * 32) == "ab" * 32
    assert checked_size(0) == 0
    assert checked_range(10, 3, None, 1) == (3, 10)
    assert checked_range(10, 30, 40, 1) == (10, 10)


def test_words_for_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = os.statvfs(tmp_path)  # others write to this disk, too
    monkeypatch.setattr(os, "statvfs", lambda path: now)
    full = problem_of(OSError(errno.ENOSPC, "no space"), tmp_path, needed=7)
    assert isinstance(full, StoreFull)
    assert full.needed == 7
    assert full.free == free_of(tmp_path)
    steps = set()
    for number in (errno.ENOENT, errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE):
        problem = problem_of(OSError(number, os.strerror(number)), tmp_path)
        assert problem.got == os.strerror(number)
        assert problem.where == str(tmp_path)
        steps.add(problem.next_step)
    assert len(steps) == 5


def test_some_room_is_never_given_to_blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    assert free_of(tmp_path) is not None
    shown = list(real)
    shown[4] = (SPARE - 1) // real.f_frsize  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(shown))
    assert free_of(tmp_path) == 0
    assert free_of(Path("/")) == 0
