# SPDX-License-Identifier: Apache-2.0
"""A region is backed up while it works, restored elsewhere, and serves machines again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, func, select, update

from tests.jobs import rotten
from tests.jobs.backup.regions import PAYLOADS, Elsewhere, quiet, running, served, uploaded
from tests.jobs.conftest import Lab, check_region, files, images
from tests.support.full_disk import MIB, fill, small_disk
from webapp.config import Settings
from webapp.errors import Problem
from webapp.extensions import db, store
from webapp.models import Blob, BlobState, BootSource, Upload, User
from webapp.services.backups import making, reading, restoring, snapshots
from webapp.services.backups.making import Keep
from webapp.services.blobs import checking
from webapp.services.sources import sources
from webapp.services.uploads import finishing, uploads

pytestmark = pytest.mark.both_databases
STORES = [
    pytest.param(kind, marks=pytest.mark.settings(store=kind))
    for kind in ("filesystem", "database")
]
NOBLE = "ubuntu/noble amd64/ga-24.04"
KERNEL = "/images/ubuntu/amd64/ga-24.04/noble/stable/boot-kernel"


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
