# SPDX-License-Identifier: Apache-2.0
"""What a stranger's first megabyte may cost."""

from __future__ import annotations

import bz2
import fcntl
import gzip
import hashlib
import time

import pytest
from flask import Flask

from tests.support import disks
from webapp.extensions import settings
from webapp.inspection import HEAD, Declared, inspect, inspect_head, inspector
from webapp.services.uploads import checking

MIB = 1 << 20


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress])
def test_a_first_inspection_unpacks_64_mib(pack: object) -> None:
    packed = pack(disks.linux_disk() + bytes(300 * MIB))[:HEAD]  # type: ignore[operator]
    report = inspect_head(packed, Declared("ddgz"), 1 << 40)
    assert report.raw_size <= inspector.MAX_HEAD_RAW_BYTES + 2 * MIB
    assert report.disk is not None


def test_a_first_inspection_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter(range(1000))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(spent)))
    report = inspect_head(bz2.compress(bytes(60 * MIB))[:HEAD], Declared("ddbz2"), 1 << 40)
    assert report.raw_size <= (inspector.MAX_HEAD_CPU_S + 3) * MIB


def test_a_user_has_one_first_inspection_at_a_time(region: Flask) -> None:
    def of(user: str) -> object:
        return checking.of_head(iter([b"x" * 100]), "n", "", "", size=100, user=user)

    assert of("maria")
    turn = settings().data_dir / "inspecting" / hashlib.sha256(b"maria").hexdigest()[:16]
    with turn.open("ab") as held:  # another process
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(checking.InspectionBusy) as caught:
            of("maria")
        assert caught.value.kind.status == 429
        assert of("ada")
    assert of("maria")


def test_a_tarball_of_too_many_files_is_refused_before_all_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspector, "MAX_MEMBERS", 1000)
    empty = disks.tarball({"f": b""})[:512]
    shell = disks.tarball({"bin/sh": disks.elf(62)})
    root = shell[: len(shell.rstrip(bytes(1))) // 512 * 512 + 512]
    packed = gzip.compress(root + empty * 60_000 + bytes(1024), 0)
    pieces = (packed[at : at + (64 << 10)] for at in range(0, len(packed), 64 << 10))
    report = inspect(pieces, Declared("tgz"))
    assert [reason.code for reason in report.reasons][:1] == ["many-files"]
    assert report.raw_size < 5 * MIB
