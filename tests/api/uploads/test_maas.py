# SPDX-License-Identifier: Apache-2.0
"""Uploads as MAAS clients send them (rules: rest-uploads, upload-names)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.clients import API, Request, Script
from tests.api.uploads.maas import (
    CHUNK,
    DAY,
    PATH,
    begin,
    content,
    newest,
    put,
    send,
    served,
    values,
)
from tests.support import factories
from webapp.extensions import db, store
from webapp.models import Blob
from webapp.services.uploads import names as image_names

SYSTEMS = [os for os in image_names.SYSTEMS if os not in ("bootloader", "custom")]


def read(script: Script, resource: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = script.get(f"{PATH}{resource['id']}/").json
    return found


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
    ("field", "value", "message"),
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
        ("title", "two\nlines", "single line"),
        ("name", "a/b/c", "one slash"),
        ("name", "beos/5", "t a known operating system"),
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
def test_a_wrong_field_is_named(admin: Script, field: str, value: str, message: str) -> None:
    answer = admin.post(PATH, **values(b"x", **{field: value}))
    assert answer.status_code == 400
    assert list(answer.json) == [field]
    assert message in answer.json[field][0]
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
    for body, message in ((b"", "Missing data."), (bytes(1001), "Too much data received.")):
        answer = put(admin, uri, body)
        assert (answer.status_code, answer.text) == (400, message)
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


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_known_system_is_a_name(system: str, admin: Script, app: Flask) -> None:
    """Oracle Linux among them: MAAS knows it from 3.5 on (rule: known-systems)."""
    data = content(100)
    made = begin(admin, data, name=f"{system}/9.2", filetype="tgz", base_image="")
    send(admin, made, data)
    found = read(admin, made)
    assert (found["name"], found["type"]) == (f"{system}/9.2", "Uploaded")
    assert newest(found)[1]["complete"]


@pytest.mark.parametrize("base", ["ol/8", "rhel/9", "ubuntu/noble"])
def test_a_custom_image_names_the_system_it_is_made_of(base: str, admin: Script) -> None:
    data = content(100)
    made = begin(admin, data, name="custom/web", base_image=base)
    send(admin, made, data)
    assert read(admin, made)["base_image"] == base
    answer = admin.post(PATH, **values(content(100), name="other", base_image="olx/8"))
    assert answer.status_code == 400
    assert "base_image" in answer.json
