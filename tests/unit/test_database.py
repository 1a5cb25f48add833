# SPDX-License-Identifier: Apache-2.0
"""Runs on SQLite and PostgreSQL, whatever DB= says: migrations must work on both."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Engine, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.support import factories
from webapp import database
from webapp.config import Settings
from webapp.extensions import db, store
from webapp.models import (
    APIKey,
    APINonce,
    APIToken,
    Base,
    Blob,
    BootEntry,
    BootLoader,
    BootLoaderFile,
    BootResource,
    BootSource,
    BootSourceCache,
    BootSourceSelection,
    CodeCertificate,
    CodeSignature,
    DayTraffic,
    Event,
    FileTransfer,
    HiddenNotice,
    ImageBinding,
    ImagePriority,
    ImageRestriction,
    ImageSoak,
    ImportFailure,
    ImportRun,
    LoginSession,
    LoginThrottle,
    PackageList,
    Publication,
    PublishedDocument,
    PublishedStream,
    Rack,
    RackToken,
    ResourceFile,
    ResourceSet,
    RunState,
    SelectionRule,
    Setting,
    SigningKey,
    SourceChange,
    StreamDocument,
    Upload,
    User,
    utcnow,
)
from webapp.storage.errors import StoreUnusable
from webapp.storage.tables import storage_metadata

pytestmark = pytest.mark.both_databases


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    made = create_engine(empty_database_url)
    database.prepare_engine(made)
    yield made
    made.dispose()


def fill(engine: Engine) -> dict[str, int]:
    with Session(engine) as session:
        source = BootSource(url="http://mirror/", keyring_filename="/k.gpg")
        source.selections.append(BootSourceSelection(os="ubuntu", release="noble"))
        source.documents.append(
            StreamDocument(path="streams/v1/index.sjson", content=b"x", sha256="0" * 64)
        )
        session.add(source)
        session.flush()
        session.add(
            BootSourceCache(
                source_id=source.id,
                product="p",
                os="ubuntu",
                arch="amd64",
                subarch="ga-24.04",
                release="noble",
                label="stable",
                version="20240821",
                size=7,
            )
        )
        resource = BootResource(
            name="ubuntu/noble",
            architecture="amd64/ga-24.04",
            os="ubuntu",
            release="noble",
            arch="amd64",
            subarch="ga-24.04",
            source_id=source.id,
        )
        blob = Blob(sha256="1" * 64, size=7, state="ready")
        version = ResourceSet(version="20240821", label="stable", completed_at=utcnow())
        version.files.append(ResourceFile(filename="squashfs", ftype="squashfs", blob=blob))
        session.add(resource)
        resource.sets.append(version)
        session.flush()
        resource.current_set_id = version.id
        run = ImportRun(state=RunState.RUNNING)
        run.transfers.append(
            FileTransfer(
                image="ubuntu/noble",
                architecture="amd64/ga-24.04",
                version="20240821",
                filename="squashfs",
                path="p",
                sha256="1" * 64,
                size=7,
            )
        )
        run.failures.append(ImportFailure(code="hash-mismatch", what="wrong"))
        user = User(username="ada", password_hash="x")
        user.sessions.append(LoginSession(token_hash="t"))
        user.api_keys.append(APIKey(consumer_key="c", token_key="t", secret_hash="s"))
        user.api_tokens.append(APIToken(token_hash="t", scopes=["read"]))
        upload = Upload(token="t" * 64, size=7, resource_id=resource.id)
        session.add_all([run, user, upload, Event(kind="a.b"), Setting(key="k", value=[1])])
        session.add(DayTraffic(day=utcnow().date(), size=1 << 40))
        session.flush()
        session.add(HiddenNotice(user_id=user.id, source_id=source.id, digest="d", until=utcnow()))
        session.add(APINonce(key_id=user.api_keys[0].id, timestamp=1, nonce="n"))
        packages = PackageList(sha256="2" * 64, content=b"x")
        session.add_all([Publication(id=1), LoginThrottle(key="k", tokens=1.0), packages])
        document = PublishedDocument(path="gpg.key", content=b"x", sha256="3" * 64)
        key = SigningKey(fingerprint="F" * 40, public=b"x")
        session.add_all([PublishedStream(id=1), document, key])
        session.add(CodeCertificate(fingerprint="F" * 64, chain=b"x", is_own=True))
        enrolment = RackToken(
            token_hash="t", created_by="ada", expires_at=utcnow(), uses=1, uses_left=0
        )
        session.add(enrolment)
        session.flush()
        session.add(
            Rack(name="rack-1", system_id="abc123", credential_hash="c", token_id=enrolment.id)
        )
        session.add(CodeSignature(blob_id=blob.id, fingerprint="F" * 64, content=b"x"))
        line = {"os": "ubuntu", "release": "noble", "arch": "amd64"}
        binding = ImageBinding(**line, source_id=source.id, source_name="mirror")
        priority = ImagePriority(name="ubuntu/noble", arch="amd64", priority="high")
        session.add_all([binding, priority, SourceChange(summary="bound", steps=[])])
        session.add(BootLoader(set_id=version.id))
        session.flush()
        session.add(BootLoaderFile(set_id=version.id, name="x.efi", sha256="1" * 64, content=b"x"))
        session.add(BootEntry(machine="amd64", os="ubuntu", release="noble", arch="amd64"))
        soak = ImageSoak(name="ubuntu/noble", arch="amd64", days=7)
        session.add_all([SelectionRule(kind="every", os="ubuntu"), soak])
        kept = {"networks": ["192.0.2.0/24"], "revision": 1}
        session.add(ImageRestriction(os="esxi", release="8.0", arch="amd64", **kept))
        session.commit()
    return counts(engine)


def counts(engine: Engine) -> dict[str, int]:
    tables = [*Base.metadata.tables.values(), *storage_metadata.tables.values()]
    with engine.connect() as connection:
        return {t.name: len(connection.execute(select(t)).all()) for t in tables}


ADDED_LATER = (
    *("api_nonce", "api_token", "boot_entry", "boot_loader", "boot_loader_file"),
    *("day_traffic", "hidden_notice", "package_list", "published_document", "published_stream"),
    *("code_certificate", "code_signature", "signing_key", "upload"),
    *("image_binding", "image_priority", "image_soak", "selection_rule", "source_change"),
    "image_restriction",
    *("rack", "rack_token"),
)


def test_every_migration_walks_up_and_down_with_data_in_the_tables(engine: Engine) -> None:
    script = ScriptDirectory.from_config(database.alembic_config(engine))
    revisions = [r.revision for r in script.walk_revisions()][::-1]
    assert database.revisions() == revisions
    for revision in revisions:
        database.upgrade(engine, revision)
    before = fill(engine)
    assert all(before[t.name] for t in Base.metadata.tables.values())
    before |= dict.fromkeys(ADDED_LATER, 0)  # on the way down they go with what they hold
    for revision in reversed(revisions[:-1]):
        database.downgrade(engine, revision)
    for revision in revisions:
        database.upgrade(engine, revision)
    assert counts(engine) == before
    database.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    database.upgrade(engine)


def test_models_and_migrations_agree(engine: Engine) -> None:
    database.upgrade(engine)
    command.check(database.alembic_config(engine))


def test_an_old_database_is_refused_with_the_command_that_migrates_it(engine: Engine) -> None:
    with pytest.raises(database.DatabaseProblem) as caught:
        database.check_revision(engine)
    assert "slipway db upgrade" in caught.value.next_step
    database.upgrade(engine)
    database.check_revision(engine)


def test_a_newer_database_names_the_version_of_slipway_to_install(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "program_version", lambda: "7.1.0")
    database.upgrade(engine)
    monkeypatch.setattr(database, "program_version", lambda: "7.2.0")
    database.upgrade(engine)  # needed nothing newer, so 7.1.0 is enough
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refuse in (database.check_revision, database.upgrade):
        with pytest.raises(database.DatabaseProblem) as caught:
            refuse(engine)
        assert "Install Slipway 7.1.0 or newer" in caught.value.next_step
        assert "9999" in caught.value.got


def test_a_sqlite_database_is_private_and_keeps_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.touch(0o644)
    engine = create_engine(f"sqlite:///{path}")
    database.prepare_engine(engine)
    database.upgrade(engine)
    with engine.connect() as connection:
        connection.execute(select(Setting))
        found = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        assert found == dict.fromkeys(("old.db", "old.db-wal", "old.db-shm"), 0o600)
        database.fold_journals(f"sqlite:///{path}")  # in use: it stays
        assert len(list(tmp_path.iterdir())) == 3
    engine.dispose()
    assert [file.name for file in tmp_path.iterdir()] == ["old.db"]


def test_the_journal_of_a_killed_process_is_folded_in(tmp_path: Path) -> None:
    path = tmp_path / "region.db"
    script = f"""
import os, sqlite3
connection = sqlite3.connect({str(path)!r})
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("CREATE TABLE t (n)")
connection.execute("INSERT INTO t VALUES (7)")
connection.commit()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert path.with_name("region.db-wal").stat().st_size
    database.fold_journals(f"sqlite:///{path}", f"sqlite:///{tmp_path}/absent.db")
    assert [file.name for file in tmp_path.iterdir()] == ["region.db"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(7,)]


def test_a_second_running_import_is_impossible(engine: Engine) -> None:
    database.upgrade(engine)
    with Session(engine) as session:
        session.add_all([ImportRun(state="running"), ImportRun(state="queued")])
        session.add_all([ImportRun(state="succeeded"), ImportRun(state="succeeded")])
        session.commit()
        session.add(ImportRun(state="running"))
        with pytest.raises(IntegrityError):
            session.commit()


@pytest.mark.parametrize(("filename", "data", "unsigned"), [("", None, False), ("/k", b"k", False)])
def test_a_source_has_exactly_one_keyring(
    engine: Engine, filename: str, data: bytes | None, unsigned: bool
) -> None:
    database.upgrade(engine)
    with Session(engine) as session:
        session.add(
            BootSource(
                url="http://m/",
                keyring_filename=filename,
                keyring_data=data,
                is_unsigned=unsigned,
            )
        )
        with pytest.raises(IntegrityError):
            session.commit()


def test_a_blob_in_use_cannot_be_deleted(engine: Engine) -> None:
    database.upgrade(engine)
    fill(engine)
    with Session(engine) as session:
        session.delete(session.scalars(select(Blob)).one())
        with pytest.raises((IntegrityError, AssertionError)):
            session.commit()


def test_times_come_back_aware_and_naive_ones_are_refused(engine: Engine) -> None:
    database.upgrade(engine)
    with Session(engine) as session:
        session.add(Event(kind="a.b"))
        session.commit()
        event = session.scalars(select(Event)).one()
        assert event.at.utcoffset() is not None
        event.at = event.at.replace(tzinfo=None)
        with pytest.raises(Exception, match="naive"):
            session.commit()


# -- the store that belongs to it


def test_an_empty_mount_point_is_not_taken_for_a_store_that_holds_images(
    make_app: Callable[[str], Flask], settings: Settings
) -> None:
    app = make_app("none")  # a first start makes its folder
    with app.app_context():
        digest = factories.blob().sha256
        db.session.remove()
    folder = settings.store_dir
    away = folder.rename(folder.with_name("unmounted"))
    folder.mkdir()
    with pytest.raises(StoreUnusable) as caught:
        make_app("web")
    assert caught.value.code == "store-missing"
    assert list(folder.iterdir()) == []
    folder.rmdir()
    away.rename(folder)
    make_app("web")
    # Whoever lost the images says so, and begins anew.
    folder.rename(folder.with_name("lost"))
    folder.mkdir()
    (folder / "SLIPWAY-STORE").touch()
    with make_app("none").app_context():
        assert store().stat(digest) is None


def test_whether_it_holds_blobs_is_asked_without_making_it(tmp_path: Path, engine: Engine) -> None:
    assert not database.holds_blobs(engine)
    database.upgrade(engine)
    assert not database.holds_blobs(engine)
    fill(engine)
    assert database.holds_blobs(engine)
    absent = create_engine(f"sqlite:///{tmp_path / 'absent.db'}")
    assert not database.holds_blobs(absent)
    assert not (tmp_path / "absent.db").exists()


def test_a_postgresql_that_does_not_answer_is_given_up() -> None:
    values = {"SLIPWAY_SECRET_KEY": "x" * 40, "SLIPWAY_DATA_DIR": "/nowhere"}
    url = "postgresql://me@192.0.2.1/slipway"
    options = database.engine_options(
        Settings.load({**values, "SLIPWAY_DATABASE_URL": url}), threads=2
    )
    assert options["connect_args"] == {"connect_timeout": 10}
    own = database.engine_options(
        Settings.load({**values, "SLIPWAY_DATABASE_URL": f"{url}?connect_timeout=3"}), threads=2
    )
    assert "connect_args" not in own
