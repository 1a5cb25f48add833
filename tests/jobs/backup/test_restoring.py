# SPDX-License-Identifier: Apache-2.0
"""A restore that is refused, fails or is killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.jobs.backup.regions import Elsewhere, quiet
from tests.support.full_disk import MIB, fill, small_disk
from webapp import create_app
from webapp.config import Settings
from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import BootResource
from webapp.services.backups import restoring, unfinished
from webapp.storage.errors import SPARE, StoreFull

pytestmark = pytest.mark.both_databases


def test_a_folder_that_isnt_empty_is_refused_and_left_alone(
    backup: Path, elsewhere: Elsewhere
) -> None:
    there = elsewhere()
    there.data_dir.mkdir()
    (there.data_dir / "mine").write_text("mine")
    with pytest.raises(Problem, match="isn't empty") as caught:
        restoring.restore(backup, there, quiet)
    assert "mine" in caught.value.got
    assert [path.name for path in there.data_dir.iterdir()] == ["mine"]


def test_a_database_that_isnt_empty_is_refused_and_left_alone(
    backup: Path, elsewhere: Elsewhere, settings: Settings
) -> None:
    there = elsewhere(database_url=settings.database_url)
    with pytest.raises(Problem, match="database isn't empty"):
        restoring.restore(backup, there, quiet)
    assert list(there.data_dir.iterdir()) == []
    assert db.session.scalar(select(func.count(BootResource.id))) == 1


def test_another_key_is_refused_before_anything_is_written(
    backup: Path, elsewhere: Elsewhere
) -> None:
    there = elsewhere(secret_key="another")
    with pytest.raises(Problem, match="SLIPWAY_SECRET_KEY"):
        restoring.restore(backup, there, quiet)
    assert not there.data_dir.exists()


def test_a_damaged_member_takes_everything_back(backup: Path, elsewhere: Elsewhere) -> None:
    there = elsewhere()
    (member,) = (backup / "blobs").iterdir()
    data = bytearray(member.read_bytes())
    data[-1] ^= 1
    member.write_bytes(data)
    with pytest.raises(Problem, match="damaged"):
        restoring.restore(backup, there, quiet)
    assert list(there.data_dir.iterdir()) == []
    data[-1] ^= 1
    member.write_bytes(data)
    assert restoring.restore(backup, there, quiet).files == 1


def test_a_full_disk_takes_everything_back(backup: Path, elsewhere: Elsewhere) -> None:
    with small_disk(SPARE + 2 * MIB) as disk:
        there = elsewhere(data_dir=disk / "there", store_dir=disk / "there" / "store")
        with pytest.raises(StoreFull):  # room for the database, but not for the upload
            restoring.restore(backup, there, quiet)
        assert list(there.data_dir.iterdir()) == []
        filling = fill(disk)
        with pytest.raises(StoreFull):
            restoring.restore(backup, there, quiet)
        assert list(there.data_dir.iterdir()) == []
        filling.unlink()
    again = replace(there, data_dir=backup.with_name("there"), store_dir=backup.with_name("store"))
    if again.database_url.startswith("sqlite"):
        assert not Path(again.database_url.removeprefix("sqlite:///")).exists()
    assert restoring.restore(backup, again, quiet).files == 1


def test_a_restore_that_was_killed_starts_nothing(backup: Path, elsewhere: Elsewhere) -> None:
    there = elsewhere()

    class Killed(BaseException):
        pass

    def check(_done: int) -> None:
        with pytest.raises(Problem, match="restore into this data folder"):
            create_app(there, plane="none")
        raise Killed

    with pytest.raises(Killed):
        restoring.restore(backup, there, check)
    assert list(there.data_dir.iterdir()) == []
    (there.data_dir / "restore.unfinished").mkdir()
    (there.data_dir / "mine").write_text("mine")
    with pytest.raises(Problem, match="isn't empty"):  # it began nothing, so this isn't its own
        restoring.restore(backup, there, quiet)
    assert [path.name for path in there.data_dir.iterdir()] == ["mine"]


def test_a_restore_killed_at_its_end_is_completed_by_the_next(
    backup: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = elsewhere()

    class Killed(BaseException):
        pass

    def killed(*_args: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(unfinished, "_unmark", killed)
        with pytest.raises(Killed):
            restoring.restore(backup, there, quiet)
    with pytest.raises(Problem, match="restore into this data folder"):
        create_app(there, plane="none")
    assert restoring.restore(backup, there, quiet).files == 1
    assert not (there.data_dir / "restore.unfinished").exists()
    create_app(there, plane="none")


def test_two_restores_do_not_meet(backup: Path, elsewhere: Elsewhere) -> None:
    there = elsewhere()
    seen = []

    def second(_done: int) -> None:
        with pytest.raises(Problem, match="is running"):
            restoring.restore(backup, there, quiet)
        seen.append(True)

    assert restoring.restore(backup, there, second).files == 1
    assert seen
