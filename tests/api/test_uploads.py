# SPDX-License-Identifier: Apache-2.0
"""Uploads as MAAS clients send them (rules: rest-uploads, upload-names)."""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from tests.api.clients import API, Request, Script
from tests.support import factories
from webapp.extensions import db, store
from webapp.models import Blob, BootResource, Publication, ResourceSet, Setting, Upload
from webapp.services.blobs import retention
from webapp.services.images import published
from webapp.services.uploads import names as image_names
from webapp.services.uploads import uploads
from webapp.services.uploads.fields import Declared

MIB = 1 << 20
CHUNK = 4 * MIB
PATH = "boot-resources/"
DAY = f"{datetime.now(UTC):%Y%m%d}"


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(f"{size} {seed}").randbytes(size)


def values(data: bytes, **changed: str) -> dict[str, str]:
    """What a client says first."""
    return {
        "name": "custom/web",
        "architecture": "amd64/generic",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": str(len(data)),
        "title": "Web server",
        "filetype": "ddgz",
    } | changed


def begin(script: Script, data: bytes, **changed: str) -> dict[str, Any]:
    answer = script.post(PATH, **values(data, **changed))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json
    return found


def newest(resource: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Version and file, chosen as clients choose: the largest key, exactly one file."""
    version = max(resource["sets"])
    files = list(resource["sets"][version]["files"].values())
    assert len(files) == 1
    return version, files[0]


def put(script: Script, uri: str, data: bytes) -> TestResponse:
    """One piece, as both Python clients send it."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(data)),
        "Authorization": script.dialect.authorization(script.key),
    }
    return script.send(Request("PUT", uri, headers, data))


def send(script: Script, resource: dict[str, Any], data: bytes) -> TestResponse:
    uri = newest(resource)[1]["upload_uri"]
    for start in range(0, len(data), CHUNK):
        answer = put(script, uri, data[start : start + CHUNK])
    return answer


def read(script: Script, resource: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = script.get(f"{PATH}{resource['id']}/").json
    return found


def served(app: Flask, name: str) -> bytes | None:
    """What a machine gets under a name."""
    with app.app_context():
        with db.engine.connect() as connection:
            names = published.read_names(
                connection, 0, retention.timedelta(seconds=60), datetime.now(UTC)
            )
        found = names.locate(name)
        if found is None:
            return None
        with store().open(found.sha256) as reader:
            return b"".join(reader.chunks())


def test_an_image_is_created_sent_and_served(any_client: Script, app: Flask) -> None:
    data = content(2 * CHUNK + 17)
    made = begin(any_client, data)
    sha256 = hashlib.sha256(data).hexdigest()
    uri = f"{API}{PATH}{made['id']}/upload/1/"
    file = {
        "filename": "root-dd.gz",
        "filetype": "root-dd.gz",
        "sha256": sha256,
        "size": len(data),
        "complete": False,
        "progress": 0.0,
        "upload_uri": uri,
    }
    assert made == {
        "id": made["id"],
        "type": "Uploaded",
        "name": "web",
        "architecture": "amd64/generic",
        "resource_uri": f"{API}{PATH}{made['id']}/",
        "last_deployed": None,
        "subarches": "generic",
        "title": "",
        "base_image": "",
        "sets": {
            DAY: {
                "version": DAY,
                "label": "uploaded",
                "size": len(data),
                "complete": False,
                "progress": 0.0,
                "files": {"root-dd.gz": file},
            }
        },
    }
    assert any_client.get(PATH).json[0]["id"] == made["id"]
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") is None
    answer = put(any_client, uri, data[:CHUNK])
    assert (answer.status, answer.text) == ("200 OK", "OK")
    assert answer.content_type == "text/plain; charset=utf-8"
    assert newest(read(any_client, made))[1]["progress"] == pytest.approx(100 * CHUNK / len(data))
    assert put(any_client, uri, data[CHUNK : 2 * CHUNK]).text == "OK"
    assert put(any_client, uri, data[2 * CHUNK :]).text == "OK"
    whole = newest(read(any_client, made))[1]
    assert whole["complete"] is True
    assert "upload_uri" not in whole
    assert "progress" not in whole
    assert read(any_client, made)["title"] == "Web server"
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == data
    assert served(app, f"custom/amd64/generic/web/uploaded/{DAY}/root-dd.gz") == data


def test_an_exact_multiple_of_the_piece_has_no_empty_last_one(admin: Script) -> None:
    data = content(2 * CHUNK)
    made = begin(admin, data)
    assert send(admin, made, data).text == "OK"
    assert newest(read(admin, made))[1]["complete"] is True


def test_a_file_without_bytes_is_complete_at_once(admin: Script) -> None:
    made = begin(admin, b"")
    assert newest(made)[1]["complete"] is True


def test_a_small_file_may_come_at_once(any_client: Script, app: Flask) -> None:
    """Go clients have no files in forms, so theirs is the command line's body."""
    data = content(70_000)
    script = Script(any_client.client, any_client.key)
    answer = script.post(PATH, name="esxi/8.0", architecture="amd64/generic", content=data)
    assert answer.status_code == 201, answer.text
    version, file = newest(answer.json)
    assert (answer.json["name"], version) == ("esxi/8.0", DAY)
    assert (file["filename"], file["filetype"]) == ("root.tgz", "root-tgz")
    assert served(app, "esxi/amd64/generic/8.0/uploaded/root.tgz") == data


@pytest.mark.parametrize(("word", "stored"), sorted(image_names.FILETYPES.items()))
def test_each_file_type_is_stored_by_its_own_name(
    admin: Script, word: str, stored: tuple[str, str]
) -> None:
    file = newest(begin(admin, content(10), filetype=word))[1]
    assert (file["filetype"], file["filename"]) == stored


def test_what_is_missing_is_named_all_at_once(any_client: Script) -> None:
    answer = any_client.post(PATH, title="x")
    assert answer.status_code == 400
    assert sorted(answer.json) == ["architecture", "name", "sha256", "size"]
    assert all(messages == ["This field is required."] for messages in answer.json.values())


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("size", "12.5", "Enter a whole number."),
        ("size", "-1", "Enter a whole number."),
        ("size", str(1 << 50), "SLIPWAY_UPLOAD_MAX_GB"),
        ("size", "9" * 30, "Enter a whole number."),
        ("sha256", "ab" * 31, "exactly 64"),
        ("sha256", "zz" * 32, "exactly 64"),
        ("filetype", "exe", "Select a valid choice. exe is not one of the available choices."),
        ("architecture", "amd64", "is not a valid architecture"),
        ("architecture", "z80/generic", "'amd64/generic'"),
        ("base_image", "nonsense", "ubuntu/jammy"),
        ("title", "x" * 201, "200 characters"),
        ("title", "two\nlines", "one line"),
        ("name", "a/b/c", "one slash"),
        ("name", "beos/5", "not an operating system known"),
        ("name", "../etc", "Enter a name"),
        ("name", "custom/", "required"),
        ("name", "centos7", "reserved"),
        ("name", "centos70", "reserved"),
        ("name", "windows", "reserved"),
        ("name", "custom", "reserved"),
        ("name", "ubuntu", "reserved"),
        ("name", "bootloader/grub", "reserved"),
    ],
)
def test_a_wrong_field_is_named(admin: Script, field: str, value: str, says: str) -> None:
    answer = admin.post(PATH, **values(b"x", **{field: value}))
    assert answer.status_code == 400
    assert list(answer.json) == [field]
    assert says in answer.json[field][0]
    assert admin.get(PATH).json == []


def test_names_of_a_boot_source_are_reserved(admin: Script, app: Flask) -> None:
    with app.app_context():
        factories.cache_entry(os="ubuntu", release="noble")
        db.session.remove()
    for name in ("ubuntu/noble", "noble", "custom/noble"):
        answer = admin.post(PATH, **values(b"x", name=name))
        assert "reserved" in answer.json["name"][0]
    begin(admin, b"x", name="ubuntu/mine")


def test_a_stored_image_of_a_source_keeps_its_name(admin: Script, app: Flask) -> None:
    with app.app_context():
        factories.boot_resource({"squashfs": b"x"}, os="ubuntu", release="focal")
        db.session.remove()
    changed = {"name": "ubuntu/focal", "architecture": "amd64/ga-24.04"}
    answer = admin.post(PATH, **values(b"x", **changed))
    assert "reserved" in answer.json["name"][0]


@pytest.mark.parametrize("script", ["viewer", "operator"])
def test_only_administrators_upload(
    admin: Script, script: str, request: pytest.FixtureRequest
) -> None:
    data = content(10)
    uri = newest(begin(admin, data))[1]["upload_uri"]
    other: Script = request.getfixturevalue(script)
    assert other.post(PATH, **values(data, name="other")).status_code == 403
    assert put(other, uri, data).status_code == 403
    assert put(admin, uri, data).text == "OK"


def test_a_stranger_uploads_nothing(stranger: Script, admin: Script) -> None:
    uri = newest(begin(admin, b"xx"))[1]["upload_uri"]
    request = Request("PUT", uri, {"Content-Type": "application/octet-stream"}, b"xx")
    assert stranger.send(request).status_code == 401


def test_known_bytes_are_not_sent_again(admin: Script, app: Flask) -> None:
    data = content(1000)
    assert send(admin, begin(admin, data), data).text == "OK"
    made = begin(admin, data, name="twin")
    file = newest(made)[1]
    assert file["complete"] is True
    assert "upload_uri" not in file
    assert served(app, "custom/amd64/generic/twin/uploaded/root-dd.gz") == data
    with app.app_context():
        assert list(store().uploads()) == []


def test_known_bytes_with_another_size_are_refused(admin: Script) -> None:
    data = content(1000)
    send(admin, begin(admin, data), data)
    answer = admin.post(PATH, **values(data, name="twin", size="999"))
    assert answer.status_code == 400
    assert list(answer.json) == ["size"]


def test_bytes_that_cannot_be_taken_change_nothing(admin: Script) -> None:
    data = content(1000)
    made = begin(admin, data)
    uri = newest(made)[1]["upload_uri"]
    for body, says in ((b"", "Missing data."), (bytes(1001), "Too much data received.")):
        answer = put(admin, uri, body)
        assert (answer.status_code, answer.text) == (400, says)
    assert put(admin, uri, data[:600]).text == "OK"
    assert put(admin, uri, bytes(401)).text == "Too much data received."
    assert put(admin, uri, data[600:]).text == "OK"
    answer = put(admin, uri, b"more")
    assert (answer.status_code, answer.text) == (400, "Cannot upload to a complete file.")


def test_wrong_bytes_leave_a_clean_state_to_try_again(admin: Script, app: Flask) -> None:
    """With MAAS the last piece is lost, and the file can't be completed (rule: rest-uploads)."""
    data = content(CHUNK + 5)
    made = begin(admin, data)
    answer = send(admin, made, bytes(len(data)))
    assert answer.status_code == 400
    assert answer.text == "Saved content does not match given SHA256 value."
    file = newest(read(admin, made))[1]
    assert (file["progress"], file["complete"]) == (0.0, False)
    assert send(admin, made, data).text == "OK"
    assert served(app, "custom/amd64/generic/web/uploaded/root-dd.gz") == data
    with app.app_context():
        assert list(store().uploads()) == []
        assert [b.sha256 for b in db.session.scalars(select(Blob))] == [
            hashlib.sha256(data).hexdigest()
        ]


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


def test_completion_tells_the_racks_once(admin: Script, app: Flask) -> None:
    def serial() -> int:
        with app.app_context():
            return db.session.scalar(select(Publication.serial)) or 0

    data = content(1000)
    made = begin(admin, data)
    put(admin, newest(made)[1]["upload_uri"], data[:500])
    before = serial()
    put(admin, newest(made)[1]["upload_uri"], data[500:])
    assert serial() == before + 1


def test_an_upload_that_nobody_goes_on_with_expires(admin: Script, app: Flask) -> None:
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
    assert any_client.post("maas/", op="set_config", name="http_proxy").text == "OK"
    assert read_setting("http_proxy") is None


def test_settings_that_cannot_be_meant_are_refused(admin: Script, viewer: Script) -> None:
    for name, value, field in (
        ("boot_images_auto_import", "perhaps", "value"),
        ("http_proxy", "nonsense", "value"),
        ("ntp_servers", "x", "name"),
        ("", "x", "name"),
    ):
        answer = admin.post("maas/", op="set_config", name=name, value=value)
        assert (answer.status_code, list(answer.json)) == (400, [field])
    assert admin.get("maas/", op="get_config", name="ntp_servers").status_code == 400
    assert viewer.get("maas/", op="get_config", name="http_proxy").status_code == 403


def test_the_rack_tells_what_it_serves(any_client: Script, app: Flask) -> None:
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
