# SPDX-License-Identifier: Apache-2.0
"""Uploads in pieces: several at once, deleted or abandoned; settings and the rack."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.api.clients import API, Script
from tests.api.uploads.maas import DAY, PATH, begin, content, newest, put, send, served
from tests.support import factories
from webapp.extensions import db, store
from webapp.models import BootResource, Publication, ResourceSet, Setting, Upload
from webapp.services.blobs import retention
from webapp.services.uploads import uploads
from webapp.services.uploads.fields import Declared


def test_every_create_gets_a_file_of_its_own(admin: Script) -> None:
    """2.9 goes on with the half-filled one and answers "Too much data"."""
    data = content(1000)
    first = begin(admin, data)
    put(admin, newest(first)[1]["upload_uri"], data[:500])
    second = begin(admin, data)
    assert second["id"] == first["id"]
    assert newest(second)[0] > newest(first)[0]
    assert send(admin, second, data).text == "OK"


def test_the_old_version_serves_until_the_new_one_is_whole(admin: Script, app: Flask) -> None:
    name = "custom/amd64/generic/web/uploaded/root-dd.gz"
    old, new = content(1000), content(1001)
    send(admin, begin(admin, old), old)
    made = begin(admin, new)
    put(admin, newest(made)[1]["upload_uri"], new[:500])
    assert served(app, name) == old
    wrong = begin(admin, new)
    assert send(admin, wrong, bytes(1001)).status_code == 400
    assert served(app, name) == old
    put(admin, newest(made)[1]["upload_uri"], new[500:])
    assert served(app, name) == new
    assert served(app, f"custom/amd64/generic/web/uploaded/{DAY}/root-dd.gz") == old


def test_eleven_uploads_on_a_day_all_arrive(admin: Script, app: Flask) -> None:
    """With MAAS's version names the eleventh is silently lost (rule: upload-versions)."""
    name = "custom/amd64/generic/web/uploaded/root-dd.gz"
    for number in range(12):
        data = content(100, number)
        made = begin(admin, data)
        assert newest(made)[1]["complete"] is False
        assert send(admin, made, data).text == "OK"
        assert served(app, name) == data
    with app.app_context():
        kept = select(ResourceSet.version).where(ResourceSet.retired_at.is_(None))
        assert sorted(db.session.scalars(kept)) == [f"{DAY}.{n:03d}" for n in (9, 10, 11)]


def test_one_name_on_two_architectures_is_two_images(admin: Script, app: Flask) -> None:
    one, two = content(100, 1), content(100, 2)
    first = begin(admin, one)
    second = begin(admin, two, architecture="arm64/generic")
    assert first["id"] != second["id"]
    send(admin, first, one)
    send(admin, second, two)
    admin.delete(f"{PATH}{first['id']}/")
    assert served(app, "custom/arm64/generic/web/uploaded/root-dd.gz") == two


def test_a_synced_image_takes_no_bytes(admin: Script, app: Flask) -> None:
    with app.app_context():
        synced = factories.boot_resource({"squashfs": b"x"}).id
        db.session.remove()
    assert put(admin, f"{API}{PATH}{synced}/upload/1/", b"x").status_code == 403
    assert put(admin, f"{API}{PATH}999/upload/1/", b"x").status_code == 404
    made = begin(admin, b"xx")
    assert put(admin, f"{API}{PATH}{made['id']}/upload/99/", b"x").status_code == 404


def test_deleting_an_image_drops_what_is_under_way(admin: Script, app: Flask) -> None:
    data = content(1000)
    made = begin(admin, data)
    put(admin, newest(made)[1]["upload_uri"], data[:10])
    assert admin.delete(f"{PATH}{made['id']}/").status_code == 204
    assert admin.get(PATH).json == []
    assert admin.delete(f"{PATH}{made['id']}/").status_code == 404
    with app.app_context():
        assert list(store().uploads()) == []
        assert db.session.scalars(select(Upload)).all() == []


def test_two_uploads_at_once_do_not_mix(admin: Script, app: Flask) -> None:
    one, two = content(3000, 1), content(3000, 2)
    first, second = begin(admin, one, name="one"), begin(admin, two, name="two")
    for start in range(0, 3000, 1000):
        for made, data in ((first, one), (second, two)):
            put(admin, newest(made)[1]["upload_uri"], data[start : start + 1000])
    assert served(app, "custom/amd64/generic/one/uploaded/root-dd.gz") == one
    assert served(app, "custom/amd64/generic/two/uploaded/root-dd.gz") == two


@pytest.mark.both_databases
@pytest.mark.parametrize("is_known", [False, True])
def test_uploads_of_one_name_that_begin_at_once_are_versions_of_one_image(
    app: Flask, is_known: bool
) -> None:
    def create(_: int) -> tuple[int | None, str]:
        with app.app_context():
            upload = uploads.create(Declared("web", "amd64/generic", 10, filetype="ddgz"), "ada")
            found = upload.resource_id, upload.version
            db.session.remove()
            return found

    if is_known:
        create(0)
    with ThreadPoolExecutor(8) as crowd:
        made = list(crowd.map(create, range(24)))
    assert len({resource for resource, _ in made}) == 1
    assert len({version for _, version in made}) == 24


def test_completion_notifies_the_racks_once(admin: Script, app: Flask) -> None:
    def serial() -> int:
        with app.app_context():
            return db.session.scalar(select(Publication.serial)) or 0

    data = content(1000)
    made = begin(admin, data)
    put(admin, newest(made)[1]["upload_uri"], data[:500])
    before = serial()
    put(admin, newest(made)[1]["upload_uri"], data[500:])
    assert serial() == before + 1


def test_an_abandoned_upload_expires(admin: Script, app: Flask) -> None:
    data = content(1000)
    made = begin(admin, data)
    put(admin, newest(made)[1]["upload_uri"], data[:10])
    with app.app_context():
        assert uploads.expire() == 0
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        db.session.execute(update(Upload).values(touched_at=long_ago))
        db.session.execute(update(BootResource).values(updated_at=long_ago))
        db.session.commit()
        retention.clean_up()
        assert db.session.scalar(select(BootResource.id)) == made["id"], "it is being uploaded"
        assert uploads.expire() == 1
        assert list(store().uploads()) == []
        retention.clean_up()
        assert db.session.scalar(select(BootResource.id)) is None


# -- settings and the rack


def test_settings_about_images_are_read_and_changed(any_client: Script, app: Flask) -> None:
    def read_setting(name: str) -> Any:
        answer = any_client.get("maas/", op="get_config", name=name)
        assert answer.status_code == 200, answer.text
        return answer.json

    assert read_setting("boot_images_auto_import") is True
    assert read_setting("http_proxy") is None
    answer = any_client.post(
        "maas/", op="set_config", name="boot_images_auto_import", value="false"
    )
    assert (answer.status_code, answer.text) == (200, "OK")
    assert read_setting("boot_images_auto_import") is False
    proxy = "http://proxy.example:3128/"
    assert any_client.post("maas/", op="set_config", name="http_proxy", value=proxy).text == "OK"
    assert read_setting("http_proxy") == proxy
    with app.app_context():
        from webapp.services.system import live_settings

        assert live_settings.proxy_for_sources() == proxy
        live_settings.change("boot_images_no_proxy", "true", "a test")
        assert live_settings.proxy_for_sources() == ""
    secret = "http://me:geheim@proxy.example:3128/"
    for value in (secret, "http://me:***@proxy.example:3128/"):
        assert (
            any_client.post("maas/", op="set_config", name="http_proxy", value=value).text == "OK"
        )
        assert read_setting("http_proxy") == "http://me:***@proxy.example:3128/"
    with app.app_context():
        live_settings.change("boot_images_no_proxy", "false", "a test")
        assert live_settings.proxy_for_sources() == secret
    assert any_client.post("maas/", op="set_config", name="http_proxy").text == "OK"
    assert read_setting("http_proxy") is None


def test_the_distro_defaults_of_bootstrap_scripts_are_kept(any_client: Script) -> None:
    for name, value in (
        ("commissioning_distro_series", "noble"),
        ("default_osystem", "ubuntu"),
        ("default_distro_series", "noble"),
        ("default_min_hwe_kernel", "ga-24.04"),
    ):
        assert any_client.post("maas/", op="set_config", name=name, value=value).text == "OK"
        assert any_client.get("maas/", op="get_config", name=name).json == value
    assert any_client.post("maas/", op="set_config", name="default_min_hwe_kernel").text == "OK"
    assert any_client.get("maas/", op="get_config", name="default_min_hwe_kernel").json is None


def test_settings_that_cannot_be_meant_are_refused(admin: Script, viewer: Script) -> None:
    for name, value, field in (
        ("boot_images_auto_import", "perhaps", "value"),
        ("http_proxy", "nonsense", "value"),
        ("default_distro_series", "no ble", "value"),
        ("ntp_servers", "x", "name"),
        ("import_rate", "5 MB/s", "name"),
        ("", "x", "name"),
    ):
        answer = admin.post("maas/", op="set_config", name=name, value=value)
        assert (answer.status_code, list(answer.json)) == (400, [field])
    assert admin.get("maas/", op="get_config", name="ntp_servers").status_code == 400
    assert viewer.get("maas/", op="get_config", name="http_proxy").status_code == 403


def test_the_rack_reports_what_it_serves(any_client: Script, app: Flask) -> None:
    with app.app_context():
        factories.boot_resource({"squashfs": b"x"})
        db.session.remove()
    racks = any_client.get("rackcontrollers/").json
    assert len(racks) == 1
    assert any_client.get("rackcontrollers/").json == racks, "its name stays"
    path = f"rackcontrollers/{racks[0]['system_id']}/"
    assert any_client.get(path).json == racks[0]
    assert any_client.get(path, op="list_boot_images").json == {
        "connected": True,
        "images": [
            {
                "name": "ubuntu/noble",
                "architecture": "amd64",
                "subarches": ["ga-24.04", "generic"],
            }
        ],
        "status": "synced",
    }
    for where in (path, "rackcontrollers/"):
        answer = any_client.post(where, op="import_boot_images")
        assert answer.status_code == 200
        assert answer.text.startswith("Import of boot images started on ")
    assert any_client.get("rackcontrollers/abcdef/").status_code == 404
    with app.app_context():
        assert db.session.scalar(select(Setting.value).where(Setting.key == "rack_system_id"))
