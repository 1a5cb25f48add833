# SPDX-License-Identifier: Apache-2.0
"""What migrations make of rows of an older version."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, select, text
from sqlalchemy.orm import Session

from webapp import database
from webapp.models import BootResource, BootSource, DayTraffic, Setting, Upload, utcnow

pytestmark = pytest.mark.both_databases


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    made = create_engine(empty_database_url)
    database.prepare_engine(made)
    yield made
    made.dispose()


def test_addresses_with_passwords_are_encrypted_by_the_migration_and_back(engine: Engine) -> None:
    database.upgrade(engine, "0009")
    proxy, shown = "http://me:geheim@p:3128/", "http://me:***@p:3128/"
    url = "http://m/disk.gz?token=geheim"
    with engine.begin() as connection:
        insert_old(connection, proxy, url)
        assert "geheim" in dump(connection)
    with pytest.raises(database.DatabaseProblem, match="secret key"):
        database.upgrade(engine)
    database.upgrade(engine, key="k" * 40)
    with Session(engine) as session:
        assert "geheim" not in dump(session.connection())
        assert sorted(session.scalars(select(BootSource.proxy_url))) == [shown, "http://p:1"]
        assert session.get_one(Setting, "http_proxy").value == shown
        assert session.scalars(select(Upload.place)).all() == ["http://m/disk.gz?…"]
    database.downgrade(engine, "0009", key="k" * 40)
    with engine.begin() as connection:
        urls = connection.scalars(text("SELECT proxy_url FROM boot_source ORDER BY id")).all()
        assert urls == [proxy, "http://p:1"]
        assert proxy in str(connection.scalars(text("SELECT value FROM setting")).all())
        assert connection.scalar(text("SELECT place FROM upload")) == url
    database.upgrade(engine, key="k" * 40)


def test_stored_images_get_the_names_that_their_stream_has_for_them(engine: Engine) -> None:
    database.upgrade(engine, "0013")
    names = {"os": "ubuntu", "release": "noble", "arch": "amd64", "subarch": "ga-24.04"}
    texts = ("kflavor", "title", "bootloader_type", "base_image", "label")
    with engine.begin() as connection:
        tables = MetaData()
        tables.reflect(connection, only=["boot_source", "boot_source_cache", "boot_resource"])
        insert_old_source(connection, tables, "a", "http://p:1")
        row = {**names, **dict.fromkeys(texts, ""), "is_rolling": False, "source_id": 1}
        row |= {"subarches": [], "answers_to": [], "version": "20260105", "size": 1}
        row |= {"items": [], "product": "p:v3:noble", "release_title": "24.04 LTS"}
        row |= {
            "release_codename": "",
            "release_version": "24.04",
            "support_eol": date(2029, 5, 31),
        }
        offered = tables.tables["boot_source_cache"]
        connection.execute(offered.insert().values({k: row[k] for k in row if k in offered.c}))
        row |= {"rtype": "synced", "name": "ubuntu/noble", "architecture": "amd64/ga-24.04"}
        row |= {"created_at": utcnow(), "updated_at": utcnow()}
        held = tables.tables["boot_resource"]
        connection.execute(held.insert().values({k: row[k] for k in row if k in held.c}))
    database.upgrade(engine)
    with Session(engine) as session:
        [resource] = session.scalars(select(BootResource))
        assert resource.product == "p:v3:noble"
        assert resource.stream_fields == {
            "release_title": "24.04 LTS",
            "release_version": "24.04",
            "support_eol": "2029-05-31",
        }


def test_findings_of_stored_reports_get_a_severity_and_give_it_back(engine: Engine) -> None:
    database.upgrade(engine, "0024")
    grades = [{"grade": grade, "code": "c", "message": "m"} for grade in ("reject", "warn", "note")]
    reports: list[dict[str, object]] = [{"verdict": "reject", "reasons": grades}, {}]
    with engine.begin() as connection:
        tables = MetaData()
        tables.reflect(connection, only=["upload"])
        for token, report in zip("tu", reports, strict=True):
            insert_old_upload(connection, tables.tables["upload"], token, report=report)
    database.upgrade(engine)
    with Session(engine) as session:
        first, empty = session.scalars(select(Upload.report).order_by(Upload.id))
    assert [reason["severity"] for reason in first["reasons"]] == ["error", "warn", "info"]
    assert first["reasons"][0] == {"severity": "error", "code": "c", "message": "m"}
    assert empty == {}
    database.downgrade(engine, "0024")
    with Session(engine) as session:
        assert session.scalars(select(Upload.report).order_by(Upload.id)).all() == reports


def test_the_traffic_of_the_last_days_is_read_off_their_events(engine: Engine) -> None:
    database.upgrade(engine, "0036")
    now = utcnow()
    with engine.begin() as connection:
        tables = MetaData()
        tables.reflect(connection, only=["event"])
        for days, kind, size in (
            (0, "image.fetched", 1 << 40),
            (0, "image.fetched", 5),
            (0, "mirror.read", 9),
            (2, "image.fetched", 7),
            (30, "image.fetched", 3),
        ):
            at, detail = now - timedelta(days=days), {"bytes": size}
            row = {"at": at, "kind": kind, "actor": "a", "subject": "s", "detail": detail}
            connection.execute(tables.tables["event"].insert().values(row))
    database.upgrade(engine)
    with Session(engine) as session:
        found = {row.day: row.size for row in session.scalars(select(DayTraffic))}
    assert found == {now.date(): (1 << 40) + 5, (now - timedelta(days=2)).date(): 7}


def insert_old(connection: Connection, proxy: str, url: str) -> None:
    """Rows of a schema before 0010."""
    tables = MetaData()
    tables.reflect(connection, only=["boot_source", "setting", "upload"])
    setting, upload = tables.tables["setting"], tables.tables["upload"]
    for name, address in (("a", proxy), ("b", "http://p:1")):
        insert_old_source(connection, tables, name, address)
    connection.execute(setting.insert().values(key="http_proxy", value=proxy))
    insert_old_upload(connection, upload, "t", url)


def insert_old_upload(
    connection: Connection,
    upload: Table,
    token: str,
    url: str = "",
    report: dict[str, object] | None = None,
) -> None:
    names = ("actor", "name", "architecture", "title", "ftype", "base_image", "sha256", "version")
    row = dict.fromkeys((*names, "claimed_by"), "") | {"token": token, "state": "done"}
    row |= {"origin": "url", "place": url, "is_checked_first": True, "size": 1, "received": 1}
    row |= {"report": report or {}, "problem": {}, "original": {}, "checked": 0}
    row |= {"created_at": utcnow(), "touched_at": utcnow()}
    connection.execute(upload.insert().values(row))


def insert_old_source(connection: Connection, tables: MetaData, name: str, address: str) -> None:
    values = dict.fromkeys(("ca_file", "auth_username", "auth_secret", "name"), "")
    values |= {"signer_fingerprint": "", "auth_kind": "none", "keyring_filename": "/k"}
    values |= {f"error_{n}": "" for n in ("code", "what", "where", "expected", "got")}
    row = {"url": f"http://{name}/", "proxy_url": address, "error_next_step": "", **values}
    row |= {"priority": 0, "is_enabled": True, "is_unsigned": False}
    row |= {"created_at": utcnow(), "updated_at": utcnow()}
    connection.execute(tables.tables["boot_source"].insert().values(row))


def dump(connection: Connection) -> str:
    """Everything in the tables that hold secrets, as text."""
    names = ("boot_source", "setting", "upload")
    return str([connection.execute(text(f"SELECT * FROM {name}")).all() for name in names])
