# SPDX-License-Identifier: Apache-2.0
"""A backup's files: complete or absent, private, and every byte of them verified."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.full_disk import MIB, fill, small_disk
from webapp.errors import Problem
from webapp.services.backups import manifest, reading, writing
from webapp.services.backups.manifest import BackupDamaged, Manifest, Member

BLOB = random.Random(5).randbytes(70_001)
DIGEST = hashlib.sha256(BLOB).hexdigest()
CONTENT = {
    "database": b"rows" * 5000,
    "secret.key": b"secret",
    "settings.json": b"{}\n",
    "blobs.json": b"[]\n",
    "keyrings/3": b"key",
    f"blobs/{DIGEST}": BLOB,
}
KINDS = ("backup", "backup.tar")


def described(writer: writing.Writer) -> Manifest:
    return Manifest(
        created_at="2026-01-01T00:00:00+00:00",
        version="1.2.3",
        revision="0001",
        engine="sqlite",
        with_bytes="uploads",
        left_out=(),
        members=tuple(writer.members),
    )


def write(target: Path, content: dict[str, bytes] = CONTENT) -> Path:
    with writing.writing(target) as writer:
        for name, data in content.items():
            writer.add_bytes(name, data)
        writer.finish(described(writer))
    return target


def problems(path: Path) -> list[str]:
    """What is wrong with a backup, as the command would say it."""
    try:
        with reading.opened(path) as backup:
            return [problem.where for problem in reading.damage(backup, lambda done: None)]
    except Problem as problem:
        return [problem.where]


@pytest.fixture(params=KINDS)
def backup(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path / request.param)


def files_of(backup: Path) -> Iterator[Path]:
    yield from [backup] if backup.is_file() else (p for p in backup.rglob("*") if p.is_file())


def test_what_was_written_is_read_and_private(backup: Path) -> None:
    assert problems(backup) == []
    with reading.opened(backup) as found:
        read = {m.name: b"".join(found.chunks(m)) for m in found.manifest.members}
    assert read == CONTENT
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_of(backup)} == {0o600}
    assert [path.name for path in backup.parent.iterdir()] == [backup.name]


def test_a_flipped_byte_is_found_in_every_member_of_a_folder(tmp_path: Path) -> None:
    backup = write(tmp_path / "backup")
    for name in [*CONTENT, manifest.NAME]:
        path = backup / name
        data = path.read_bytes()
        for at in {0, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            (found,) = problems(backup)
            assert name in found
        path.write_bytes(data)
        path.unlink()
        assert problems(backup)
        path.write_bytes(data)
    assert problems(backup) == []


def test_a_flipped_byte_is_found_in_every_member_of_a_tar_file(tmp_path: Path) -> None:
    backup = write(tmp_path / "backup.tar")
    data = backup.read_bytes()
    with tarfile.open(backup) as tar:
        places = [(info.name, info.offset, info.offset_data, info.size) for info in tar]
    assert [place[0] for place in places] == [*CONTENT, manifest.NAME]
    for _, header, start, size in places:
        for at in {header, header + 130, start, start + size // 2, start + size - 1}:
            backup.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert problems(backup)
    for length in (0, 100, 512, len(data) // 2, places[-1][2]):
        backup.write_bytes(data[:length])
        assert problems(backup)


def test_a_manifest_is_accepted_only_as_it_was_written(tmp_path: Path) -> None:
    path = write(tmp_path / "backup") / manifest.NAME
    whole = json.loads(path.read_bytes())
    data = json.dumps(whole, indent=1, sort_keys=True) + "\n"
    for wrong in (data + " ", data.replace("1.2.3", "1.2.4"), "[]", "{}", "\xff", "[" * 100_000):
        with pytest.raises(BackupDamaged):
            manifest.parse(wrong.encode(), "here")
    right = manifest.parse(data.encode(), "here")
    assert manifest.render(right) == data.encode()
    for name in ("../x", "/etc/passwd", "blobs/" + "0" * 64, "database"):
        members = (*right.members, Member(name, 1, DIGEST))
        with pytest.raises(BackupDamaged):
            manifest.parse(manifest.render(replace(right, members=members)), "here")
    with pytest.raises(BackupDamaged):
        manifest.parse(manifest.render(replace(right, members=right.members[1:])), "here")
    newer = json.dumps({"manifest": {**whole["manifest"], "format": 2}, "sha256": ""})
    with pytest.raises(Problem, match="can't read"):
        manifest.parse(newer.encode(), "here")


@pytest.mark.parametrize("name", KINDS)
def test_a_member_that_differs_is_taken_out_again(name: str, tmp_path: Path) -> None:
    with writing.writing(tmp_path / name) as writer:
        for wrong in ([BLOB[:-1]], [BLOB, b"x"], [bytes(len(BLOB))]):
            with pytest.raises(writing.MemberDiffers):
                writer.add(f"blobs/{DIGEST}", len(BLOB), wrong, DIGEST)
        for member, data in CONTENT.items():
            writer.add_bytes(member, data)
        writer.finish(described(writer))
    assert problems(tmp_path / name) == []


def test_a_target_in_use_is_refused_and_left_alone(backup: Path) -> None:
    with pytest.raises(Problem, match="target of the backup exists"):
        write(backup, {})
    assert problems(backup) == []
    other = backup.with_name("other.tar")
    with writing.writing(other) as writer:
        with pytest.raises(Problem, match="Another backup"):
            write(other)
        for name, data in CONTENT.items():
            writer.add_bytes(name, data)
        writer.finish(described(writer))
    assert problems(other) == []


@pytest.mark.parametrize("name", KINDS)
def test_what_a_killed_backup_left_is_no_backup_and_is_cleared_away(
    name: str, tmp_path: Path
) -> None:
    work = tmp_path / f".{name}.partial"
    (work / "blobs").mkdir(parents=True)
    (work / "backup.tar").write_bytes(b"half")
    (work / "database").write_bytes(b"half")
    assert problems(work)
    write(tmp_path / name)
    assert problems(tmp_path / name) == []
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", KINDS)
def test_a_full_disk_leaves_no_backup(name: str) -> None:
    with small_disk(4 * MIB) as disk:
        filling = fill(disk)
        os.truncate(filling, filling.stat().st_size - 40_000)
        with pytest.raises(Problem, match="enough space") as caught:
            write(disk / name)
        assert caught.value.next_step
        assert [path.name for path in disk.iterdir()] == ["filling"]
        filling.unlink()
        write(disk / name)
        assert problems(disk / name) == []


def test_what_isnt_a_backup_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("text")
    (tmp_path / "empty").mkdir()
    for name in ("text.tar", "empty", "absent"):
        with pytest.raises(Problem) as caught, reading.opened(tmp_path / name):
            pass
        assert caught.value.next_step
