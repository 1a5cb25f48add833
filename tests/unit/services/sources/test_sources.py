# SPDX-License-Identifier: Apache-2.0
"""Boot sources against a real signed mirror over real HTTP."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.mirror.maker import Documents, Mirror
from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from webapp.errors import InvalidFields, Problem
from webapp.extensions import db
from webapp.models import (
    BootSource,
    BootSourceCache,
    BootSourceSelection,
    Event,
    StreamDocument,
    utcnow,
)
from webapp.services.sources import health, refreshing, sources
from webapp.services.sources.drafts import SourceDraft

pytestmark = pytest.mark.usefixtures("region")


def draft(server: MirrorServer, mirror: Mirror, **values: object) -> SourceDraft:
    defaults = {"url": server.source_url, "keyring_data": mirror.keyring.read_bytes()}
    return SourceDraft(**{**defaults, **values})  # type: ignore[arg-type]


def products() -> int:
    return db.session.scalar(select(func.count(BootSourceCache.id))) or 0


def rows(model: type) -> int:
    return db.session.scalar(select(func.count()).select_from(model)) or 0


def wanted() -> set[tuple[int, str]]:
    """Every selection: its source and release."""
    db.session.expire_all()
    found = db.session.scalars(select(BootSourceSelection))
    return {(row.source_id, row.release) for row in found}


def test_connecting_shows_what_is_offered_and_saves_nothing(
    region: Flask, mirror: Mirror, mirror_server: MirrorServer
) -> None:
    preview = sources.connect(draft(mirror_server, mirror))
    assert preview.fingerprint == mirror.key.fingerprint
    assert preview.keys[0].fingerprint == mirror.key.fingerprint
    assert preview.index_updated_at == mirror.updated
    assert {offer.release for offer in preview.offers} >= {"noble", "jammy", "centos70"}
    assert [rows(m) for m in (BootSource, BootSourceCache, StreamDocument, Event)] == [0, 0, 0, 0]


@pytest.mark.parametrize("tail", ["", "streams/v1", "streams/v1/", "streams/v1/index.sjson"])
def test_every_form_of_an_address_is_the_same_source(
    mirror: Mirror, mirror_server: MirrorServer, tail: str
) -> None:
    address = mirror_server.source_url.rstrip("/") + ("/" + tail if tail else "")
    source = sources.add(draft(mirror_server, mirror, url=address), "ada")
    assert source.url == mirror_server.source_url
    with pytest.raises(InvalidFields) as caught:
        sources.add(draft(mirror_server, mirror), "ada")
    assert caught.value.fields == {"url": ["Boot source with this Url already exists."]}


def test_a_refresh_keeps_the_signed_bytes_and_the_catalogue(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    outcome = refreshing.refresh(source)
    assert outcome.problem is None
    index = db.session.scalars(
        select(StreamDocument).where(StreamDocument.path == "streams/v1/index.sjson")
    ).one()
    assert index.content == (mirror.stream / "streams/v1/index.sjson").read_bytes()
    assert source.signer_fingerprint == mirror.key.fingerprint
    assert products() > 4
    noble = db.session.scalars(
        select(BootSourceCache).where(
            BootSourceCache.release == "noble", BootSourceCache.arch == "amd64"
        )
    ).first()
    assert noble is not None
    assert {i["path"]: i["sha256"] for i in noble.items}.items() <= mirror.sha256.items()


def test_an_unchanged_stream_costs_one_request(mirror: Mirror, mirror_server: MirrorServer) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    refreshing.refresh(source)
    mirror_server.reset()
    assert refreshing.refresh(source).is_unchanged
    assert [r.status for r in mirror_server.log] == [304]


def test_a_new_keyring_counts_even_when_the_stream_did_not_change(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    refreshing.refresh(source)
    before = products()
    other = signed.new_key("Somebody else <else@example.test>")
    sources.update_source(source, draft(mirror_server, mirror, keyring_data=other.public), "ada")
    outcome = refreshing.refresh(source)
    assert outcome.problem is not None
    assert outcome.problem.code == "signature-unknown-key"
    assert products() == before


def test_a_keyring_file_that_changes_on_disk_counts_at_the_next_refresh(
    tmp_path: Path, mirror: Mirror, mirror_server: MirrorServer
) -> None:
    path = tmp_path / "ubuntu-cloudimage-keyring.gpg"
    path.write_bytes(mirror.keyring.read_bytes())
    source = sources.add(
        draft(mirror_server, mirror, keyring_data=None, keyring_filename=str(path)), "ada"
    )
    assert refreshing.refresh(source).problem is None
    path.write_bytes(signed.new_key("Somebody else <else@example.test>").public)
    outcome = refreshing.refresh(source)
    assert outcome.problem is not None
    assert outcome.problem.code == "signature-unknown-key"
    path.unlink()
    outcome = refreshing.refresh(source)
    assert outcome.problem is not None
    assert outcome.problem.code == "keyring-missing"
    assert "ubuntu-keyring" in source.error_next_step
    assert "4A3C E3CD 565D 7EB5 C810 E2B9 7FF3 F408 476C F100" in source.error_next_step


def test_an_error_goes_away_with_its_cause(mirror: Mirror, mirror_server: MirrorServer) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    refreshing.refresh(source)
    before, stamp = products(), source.updated_at
    mirror_server.set_faults([{"path": "index", "status": 404}])
    outcome = refreshing.refresh(source)
    assert outcome.problem is not None
    assert (source.error_code, source.error_got) != ("", "")
    assert products() == before
    mirror_server.set_faults()
    assert refreshing.refresh(source).problem is None
    assert (source.error_code, source.error_what, source.error_next_step) == ("", "", "")
    assert source.updated_at == stamp


def test_a_corrected_address_takes_the_error_away(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    wrong = draft(mirror_server, mirror, url="http://127.0.0.1:1/stable/")
    source = sources.add(wrong, "ada")
    refreshing.refresh(source)
    judged = health.judge(source)
    assert judged.problem is not None
    assert judged.problem.code == "http-connection"
    assert judged.problem.where.startswith("http://127.0.0.1:1/stable/")
    sources.update_source(source, draft(mirror_server, mirror), "ada")
    assert refreshing.refresh(source).problem is None
    assert health.judge(source).problem is None


def test_older_metadata_than_seen_is_refused_with_both_dates(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    old = (mirror.stream / "streams/v1/index.sjson").read_bytes()
    first = mirror.updated
    mirror.publish_next()
    source = sources.add(draft(mirror_server, mirror), "ada")
    assert refreshing.refresh(source).problem is None
    (mirror.stream / "streams/v1/index.sjson").write_bytes(old)
    outcome = refreshing.refresh(source)
    assert outcome.problem is not None
    assert outcome.problem.code == "stream-rollback"
    assert str(first.year) in outcome.problem.got + outcome.problem.expected
    assert source.index_updated_at == first + timedelta(days=1)


def test_another_address_keeps_selections_and_other_sources(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    other = factories.boot_source()
    factories.selection(source)
    factories.selection(other, release="jammy")
    refreshing.refresh(source)
    address, selected = other.url, wanted()
    assert len(selected) == 2
    moved = draft(mirror_server, mirror, url="http://elsewhere.example.test/stable/")
    sources.update_source(source, moved, "ada")
    assert (rows(BootSource), wanted(), other.url) == (2, selected, address)
    assert (rows(StreamDocument), source.checked_at, source.index_updated_at) == (0, None, None)


def test_a_stream_that_turned_empty_empties_its_catalogue_alone(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    factories.cache_entry(factories.boot_source())
    resource = factories.boot_resource(source_id=source.id)
    refreshing.refresh(source)
    assert products() > 1

    def empty(documents: Documents) -> None:
        for document in documents.values():
            document["products"] = {}

    mirror.publish_next(edit=empty)
    outcome = refreshing.refresh(source)
    assert outcome.problem is None
    assert "stream-empty" in {warning.code for warning in outcome.warnings}
    (left,) = db.session.scalars(select(BootSourceCache))
    assert left.source_id != source.id
    db.session.expire_all()
    assert (resource.source_id, resource.current_set_id is not None) == (source.id, True)


def test_removing_a_source_takes_its_selections_and_catalogue(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    refreshing.refresh(source)
    factories.selection(source)
    resource = factories.boot_resource(source_id=source.id)
    sources.remove(source, "ada")
    db.session.expire_all()
    assert [rows(m) for m in (BootSource, BootSourceCache, BootSourceSelection)] == [0, 0, 0]
    assert resource.source_id is None
    assert resource.current_set_id is not None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://mirror/"}, "url"),
        ({"url": "http://u:p@mirror/"}, "url"),
        ({"url": "http://mirror/streams/v1/index.json"}, "url"),
        ({"keyring_filename": "/k", "keyring_data": b"x"}, "__all__"),
        ({"keyring_data": None}, "__all__"),
        ({"keyring_data": b"<html>login</html>"}, "keyring_data"),
        ({"keyring_data": None, "keyring_filename": "/nowhere/k.gpg"}, "keyring_filename"),
        ({"proxy_url": "socks5://p"}, "proxy_url"),
        ({"proxy_url": "http://["}, "proxy_url"),
        ({"proxy_url": "http://p:port"}, "proxy_url"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"auth_kind": "basic", "auth_secret": "x"}, "auth_username"),
        ({"auth_kind": "bearer"}, "auth_secret"),
        (
            {"url": "http://mirror.example/", "auth_kind": "bearer", "auth_secret": "x"},
            "auth_in_clear",
        ),
    ],
)
def test_a_wrong_draft_is_refused_by_field_and_nothing_is_saved(
    mirror: Mirror, mirror_server: MirrorServer, values: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidFields) as caught:
        sources.add(draft(mirror_server, mirror, **values), "ada")
    assert list(caught.value.fields) == [field]
    assert rows(BootSource) == 0


def test_a_login_secret_is_kept_encrypted_and_used(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    login = {"auth_kind": "basic", "auth_username": "lab", "auth_secret": "hunter2"}
    source = sources.add(draft(mirror_server, mirror, **login), "ada")
    assert "hunter2" not in source.auth_secret
    assert refreshing.refresh(source).problem is None
    sent = {r.headers.get("authorization") for r in mirror_server.log}
    assert sent == {"Basic " + base64.b64encode(b"lab:hunter2").decode()}


def test_a_login_goes_over_plain_http_only_where_allowed(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    login = {"auth_kind": "bearer", "auth_secret": "hunter2", "url": "http://mirror.invalid/"}
    source = sources.add(draft(mirror_server, mirror, **login, auth_in_clear=True), "ada")
    assert source.auth_in_clear
    before = factories.boot_source(
        url="http://other.invalid/",
        auth_kind="bearer",
        auth_secret=source.auth_secret,
        keyring_filename=str(mirror.keyring),
    )
    problem = refreshing.refresh(before).problem
    assert problem is not None
    assert problem.code == "login-in-clear"
    assert "https URL" in problem.next_step


def test_one_bad_source_stops_no_other(mirror: Mirror, mirror_server: MirrorServer) -> None:
    bad = factories.boot_source(url=mirror_server.url + "nothing/here/", keyring_filename="/no")
    good = sources.add(draft(mirror_server, mirror), "ada")
    outcomes = {o.source_id: o.problem for o in refreshing.refresh_all(lambda: False)}
    assert isinstance(outcomes[bad.id], Problem)
    assert outcomes[good.id] is None


def test_a_source_changed_while_it_was_read_is_not_overwritten(
    mirror: Mirror, mirror_server: MirrorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sources.add(draft(mirror_server, mirror), "ada")
    real = refreshing.read_stream

    def changed_meanwhile(*args: object, **kwargs: object) -> object:
        snapshot = real(*args, **kwargs)  # type: ignore[arg-type]
        with db.engine.begin() as connection:
            connection.execute(
                BootSource.__table__.update().values(updated_at=utcnow() + timedelta(seconds=1))
            )
        return snapshot

    monkeypatch.setattr(refreshing, "read_stream", changed_meanwhile)
    refreshing.refresh(source)
    assert products() == 0


def test_connecting_to_a_filtered_mirror_says_which_files_are_missing(
    mirror: Mirror, mirror_server: MirrorServer
) -> None:
    for path in mirror.stream.glob("jammy/**/squashfs"):
        path.unlink()
    preview = sources.connect(draft(mirror_server, mirror))
    (warning,) = preview.warnings
    assert "squashfs" in str(warning)
    assert "jammy" in str(warning)
