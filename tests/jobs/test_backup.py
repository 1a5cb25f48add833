# SPDX-License-Identifier: Apache-2.0
"""A region is backed up while it works, restored elsewhere, and serves machines again."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, func, select, update

from tests.jobs import rotten
from tests.jobs.conftest import Lab, check_region, files, images
from tests.support.databases import Databases
from tests.support.full_disk import MIB, fill, small_disk
from webapp import create_app
from webapp.config import Settings
from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import Blob, BlobState, BootResource, BootSource, Upload, User
from webapp.services.backups import making, reading, restoring, snapshots
from webapp.services.backups.making import Keep
from webapp.services.blobs import checking
from webapp.services.sources import sources
from webapp.services.uploads import finishing, uploads
from webapp.services.uploads.fields import Declared
from webapp.storage.errors import SPARE, StoreFull

pytestmark = pytest.mark.both_databases
STORES = [
    pytest.param(kind, marks=pytest.mark.settings(store=kind))
    for kind in ("filesystem", "database")
]
NOBLE = "ubuntu/noble amd64/ga-24.04"
KERNEL = "/images/ubuntu/amd64/ga-24.04/noble/stable/boot-kernel"
PAYLOADS = [random.Random(seed).randbytes(3 << 20 | seed) for seed in (1, 2)]
Elsewhere = Callable[..., Settings]


@pytest.fixture
def elsewhere(
    settings: Settings, tmp_path: Path, engine_databases: Databases
) -> Iterator[Elsewhere]:
    """Settings of another machine: an empty folder and an empty database."""
    urls = []

    def make(**values: object) -> Settings:
        urls.append(engine_databases.empty())
        folder = tmp_path / f"elsewhere{len(urls)}"
        given = {
            "data_dir": folder,
            "store_dir": folder / "store",
            "database_url": urls[-1],
            "queue_url": f"sqlite:///{folder}/queue.db",
            "secret_key": "",
            **values,
        }
        return replace(settings, **given)  # type: ignore[arg-type]

    yield make
    for url in urls:
        engine_databases.drop(url)


@contextmanager
def running(settings: Settings, plane: str = "none") -> Iterator[Flask]:
    """An app on restored settings."""
    app = create_app(settings, plane=plane)  # type: ignore[arg-type]
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()


def uploaded(data: bytes, name: str, count: int | None = None) -> Upload:
    """An upload of which some bytes came; published when all did."""
    upload = uploads.create(
        Declared(name, "amd64/generic", len(data), filetype="tgz", is_checked_first=False), "ann"
    )
    uploads.append(upload, [data[:count]])
    if count is None:
        finishing.finish(upload)
    return upload


def served(settings: Settings, path: str) -> tuple[int, str]:
    """What a machine gets from a rack: status and digest."""
    with running(settings, "rack") as app:
        try:
            with app.test_client().get(path, buffered=True) as answer:
                return answer.status_code, hashlib.sha256(answer.data).hexdigest()
        finally:
            app.extensions["slipway.rack"].close()


def quiet(*_progress: int) -> None:
    """Nobody watches."""


@pytest.mark.parametrize("kind_of_store", STORES)
def test_a_backup_during_an_import_and_an_upload_is_restored_elsewhere(
    kind_of_store: str, lab: Lab, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    target = tmp_path / "backup.tar"
    lab.select("noble")
    done = uploaded(PAYLOADS[0], "whole")
    half = uploaded(PAYLOADS[1], "half", 1 << 20)
    name, half_id = done.name, half.id
    db.session.add(User(username="ada", password_hash="!"))
    db.session.commit()
    made: list[making.Made] = []
    with lab.during_download(lambda: made.append(making.make(target, Keep.UPLOADS, quiet))):
        assert lab.run().state == "succeeded"
    assert made
    assert (made[0].kept, made[0].damaged) == (1, ())
    kernel = files(NOBLE)["boot-kernel"]
    there = elsewhere()
    restored = restoring.restore(target, there, quiet)
    assert restored.files == 1
    with running(there):
        assert db.session.scalar(select(func.count(User.id))) == 1
        digest = db.session.scalars(select(Upload.sha256).where(Upload.name == name)).one()
        assert digest == hashlib.sha256(PAYLOADS[0]).hexdigest()
        assert store().verify(digest)
        upload = uploads.find(half_id)
        assert (upload.state, upload.received) == ("receiving", 0)
        uploads.append(upload, [PAYLOADS[1]])
        finishing.finish(upload)
        checking.check_store()
        assert lab.run().state == "succeeded"
        assert lab.run().state == "succeeded"  # the first one may be the interrupted one
        check_region()
        assert files(NOBLE)["boot-kernel"] == kernel
        half_name = upload.name
    assert served(there, KERNEL) == (200, kernel)
    path = f"/images/custom/amd64/generic/{half_name.rpartition('/')[2]}/uploaded/root-tgz"
    assert served(there, path) == (200, hashlib.sha256(PAYLOADS[1]).hexdigest())


@pytest.mark.parametrize("kind_of_store", STORES)
def test_without_bytes_each_name_works_as_soon_as_its_file_is_back(
    kind_of_store: str, lab: Lab, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    lab.select("noble")
    assert lab.run().state == "succeeded"
    uploaded(PAYLOADS[0], "mine")
    kernel, before = files(NOBLE)["boot-kernel"], images()
    made = making.make(tmp_path / "backup", Keep.NONE, quiet)
    assert (made.kept, made.only_here) == (0, 1)
    there = elsewhere()
    restored = restoring.restore(tmp_path / "backup", there, quiet)
    assert restored.files == 0
    assert restored.missing > 3
    assert served(there, KERNEL)[0] == 503
    with running(there):
        lab.run()
        assert images() == before
    assert served(there, KERNEL) == (200, kernel)


@pytest.mark.parametrize("kind_of_store", STORES)
def test_a_backup_with_all_bytes_needs_no_import(
    kind_of_store: str, lab: Lab, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    lab.select("noble")
    assert lab.run().state == "succeeded"
    kernel = files(NOBLE)["boot-kernel"]
    making.make(tmp_path / "backup", Keep.ALL, quiet)
    there = elsewhere()
    assert restoring.restore(tmp_path / "backup", there, quiet).missing == 0
    assert served(there, KERNEL) == (200, kernel)
    with running(there):
        checking.check_store()
        check_region()


def test_a_store_that_survived_is_used_again(
    lab: Lab, elsewhere: Elsewhere, settings: Settings, tmp_path: Path
) -> None:
    lab.select("noble")
    assert lab.run().state == "succeeded"
    kernel, initrd = files(NOBLE)["boot-kernel"], files(NOBLE)["boot-initrd"]
    making.make(tmp_path / "backup", Keep.NONE, quiet)
    rotten.damage(initrd, "delete")
    there = elsewhere(store_dir=settings.store_dir)
    assert restoring.restore(tmp_path / "backup", there, quiet).missing == 1
    assert served(there, KERNEL) == (200, kernel)
    with running(there):
        lab.run()
        check_region()


def test_images_of_a_disabled_source_are_kept_like_uploads(
    lab: Lab, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    lab.select("noble")
    assert lab.run().state == "succeeded"
    count = db.session.scalar(select(func.count(Blob.id)))
    db.session.execute(update(BootSource).values(is_enabled=False))
    db.session.commit()
    assert making.make(tmp_path / "backup", Keep.UPLOADS, quiet).kept == count


def test_secrets_and_keyrings_come_along(lab: Lab, elsewhere: Elsewhere, tmp_path: Path) -> None:
    keyring = tmp_path / "lab.gpg"
    keyring.write_bytes(lab.mirror.keyring.read_bytes())
    source = db.session.get_one(BootSource, lab.source_id)
    source.keyring_filename, source.keyring_data = str(keyring), None
    db.session.commit()
    making.make(tmp_path / "backup", Keep.NONE, quiet)
    keyring.unlink()
    there = elsewhere()
    restoring.restore(tmp_path / "backup", there, quiet)
    assert (there.data_dir / "secret.key").read_text() == "a key for tests and for nothing else"
    with running(there):
        source = db.session.get_one(BootSource, lab.source_id)
        assert source.keyring_data == lab.mirror.keyring.read_bytes()
        assert sources.keyring_of(source)


def test_a_ca_file_comes_along(lab: Lab, elsewhere: Elsewhere, tmp_path: Path) -> None:
    authorities = tmp_path / "lab.pem"
    authorities.write_text("the certificates of a lab")
    db.session.execute(update(BootSource).values(ca_file=str(authorities)))
    db.session.commit()
    making.make(tmp_path / "backup.tar", Keep.NONE, quiet)
    here = elsewhere()
    restoring.restore(tmp_path / "backup.tar", here, quiet)
    with running(here):
        assert db.session.get_one(BootSource, lab.source_id).ca_file == str(authorities)
    authorities.unlink()
    there = elsewhere()
    restoring.restore(tmp_path / "backup.tar", there, quiet)
    with running(there):
        kept = Path(db.session.get_one(BootSource, lab.source_id).ca_file)
        assert kept.parent.parent == there.data_dir
        assert kept.read_text() == "the certificates of a lab"


def test_damaged_bytes_are_left_out_and_reported(lab: Lab, tmp_path: Path) -> None:
    lab.select("noble")
    assert lab.run().state == "succeeded"
    kernel = files(NOBLE)["boot-kernel"]
    rotten.damage(kernel, "flip")
    made = making.make(tmp_path / "backup.tar", Keep.ALL, quiet)
    assert made.damaged == (kernel,)
    assert db.session.scalars(select(Blob.state).where(Blob.sha256 == kernel)).one() == (
        BlobState.BAD
    )
    with reading.opened(tmp_path / "backup.tar") as backup:
        assert reading.damage(backup, quiet) == []
        assert backup.manifest.left_out == (kernel,)


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_a_full_disk_leaves_no_backup(name: str, region: Flask) -> None:
    uploaded(PAYLOADS[0], "mine")
    with small_disk(4 * MIB) as disk:
        filling = fill(disk)
        for room in (0, 8 << 10, 3 * MIB):  # for nothing, a part of the database, and all of it
            os.truncate(filling, filling.stat().st_size - room)
            with pytest.raises(Problem, match=r"space|pg_dump failed"):
                making.make(disk / name, Keep.UPLOADS, quiet)
            assert [path.name for path in disk.iterdir()] == ["filling"]


def test_a_damaged_database_is_a_sentence(tmp_path: Path) -> None:
    source = tmp_path / "region.db"
    source.write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(Problem, match="can't be copied") as caught:
        snapshots.copied(create_engine(f"sqlite:///{source}"), tmp_path / "copy").__enter__()
    assert str(source) in caught.value.where


# -- what a restore refuses, and what it leaves behind


@pytest.fixture
def backup(region: Flask, tmp_path: Path) -> Path:
    """A small backup with one upload."""
    uploaded(PAYLOADS[0], "mine")
    making.make(tmp_path / "backup", Keep.UPLOADS, quiet)
    return tmp_path / "backup"


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
    (there.data_dir / "restore.unfinished").mkdir()
    with pytest.raises(Problem, match="restore into this data folder") as caught:
        restoring.restore(backup, there, quiet)
    assert "slipway restore" in caught.value.next_step
