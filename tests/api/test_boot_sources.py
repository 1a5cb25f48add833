# SPDX-License-Identifier: Apache-2.0
"""``boot-sources/`` (rules: rest-boot-sources, rest-answers, rest-go-clients)."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.clients import API, Script
from tests.support import factories
from tests.support.signed import SigningKey
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection, Event

URL = "http://images.example.test/ephemeral-v3/stable/"
# Exactly what libmaas can parse: no zone, always a fraction.
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}")


@pytest.fixture
def keyring_file(tmp_path: Path, signing_key: SigningKey) -> str:
    path = tmp_path / "keyring.gpg"
    path.write_bytes(signing_key.public)
    return str(path)


@pytest.fixture
def source_id(any_client: Script, keyring_file: str) -> int:
    created = any_client.post("boot-sources/", url=URL, keyring_filename=keyring_file)
    assert created.status_code == 201
    return int(created.json["id"])


def stored(app: Flask) -> list[tuple[str, str, bytes | None]]:
    with app.app_context():
        rows = db.session.execute(
            select(BootSource.url, BootSource.keyring_filename, BootSource.keyring_data)
        )
        return [tuple(row) for row in rows]


def test_a_source_is_created_with_a_keyring_file(
    app: Flask, any_client: Script, keyring_file: str
) -> None:
    answer = any_client.post("boot-sources/", url=URL, keyring_filename=keyring_file)
    assert answer.status == "201 Created"
    assert answer.content_type == "application/json; charset=utf-8"
    document = answer.json
    assert TIMESTAMP.fullmatch(document.pop("created"))
    assert TIMESTAMP.fullmatch(document.pop("updated"))
    source_id = document.pop("id")
    assert isinstance(source_id, int)
    assert document == {
        "url": URL,
        "keyring_filename": keyring_file,
        "keyring_data": "",
        "resource_uri": f"{API}boot-sources/{source_id}/",
    }
    assert stored(app) == [(URL, keyring_file, None)]


def test_a_source_is_created_with_a_keyring_of_its_own(
    app: Flask, any_client: Script, signing_key: SigningKey
) -> None:
    answer = any_client.post(
        "boot-sources/", url=URL, keyring_filename="", keyring_data=signing_key.public
    )
    assert answer.status == "201 Created"
    assert base64.b64decode(answer.json["keyring_data"]) == signing_key.public
    assert answer.json["keyring_filename"] == ""
    assert stored(app) == [(URL, "", signing_key.public)]


@pytest.mark.parametrize("form", ["base64", "wrapped base64", "armored"])
def test_a_keyring_may_come_as_text(any_client: Script, signing_key: SigningKey, form: str) -> None:
    texts = {
        "base64": base64.b64encode(signing_key.public).decode(),
        "wrapped base64": base64.encodebytes(signing_key.public).decode(),
        "armored": signing_key.public_armored.decode(),
    }
    answer = any_client.post("boot-sources/", url=URL, keyring_data=texts[form])
    assert answer.status_code == 201, answer.text
    assert base64.b64decode(answer.json["keyring_data"]) in (
        signing_key.public,
        signing_key.public_armored,
    )


def test_what_libmaas_leaves_empty_counts_as_not_given(admin: Script, keyring_file: str) -> None:
    answer = admin.post("boot-sources/", url=URL, keyring_filename=keyring_file, keyring_data="")
    assert answer.status_code == 201


def test_unknown_arguments_are_ignored(any_client: Script, keyring_file: str) -> None:
    answer = any_client.post(
        "boot-sources/", url=URL, keyring_filename=keyring_file, colour="blue", priority="7"
    )
    assert answer.status_code == 201


def test_all_sources_are_listed_by_id(any_client: Script, source_id: int, app: Flask) -> None:
    with app.app_context():
        higher = factories.boot_source(priority=9).id
    answer = any_client.get("boot-sources/")
    assert answer.status == "200 OK"
    assert answer.content_type == "application/json; charset=utf-8"
    assert [row["id"] for row in answer.json] == [source_id, higher]
    assert answer.json[0] == any_client.get(f"boot-sources/{source_id}/").json


def test_a_change_keeps_what_is_not_sent_and_answers_the_whole_object(
    any_client: Script, source_id: int, keyring_file: str
) -> None:
    before = any_client.get(f"boot-sources/{source_id}/").json
    moved = "https://mirror.example.test/stable/"
    answer = any_client.put(f"boot-sources/{source_id}/", url=moved)
    assert answer.status == "200 OK"
    after = answer.json
    assert after == any_client.get(f"boot-sources/{source_id}/").json
    assert after.pop("updated") > before.pop("updated")
    assert after == {**before, "url": moved}


def test_the_keyring_that_is_sent_replaces_the_other_kind(
    app: Flask, any_client: Script, source_id: int, keyring_file: str, signing_key: SigningKey
) -> None:
    path = f"boot-sources/{source_id}/"
    # The command line names the empty one, Go clients leave it out.
    with_data = any_client.put(path, keyring_filename="", keyring_data=signing_key.public)
    assert with_data.status_code == 200
    assert stored(app) == [(URL, "", signing_key.public)]
    with_file = any_client.put(path, keyring_filename=keyring_file)
    assert with_file.status_code == 200
    assert (with_file.json["keyring_filename"], with_file.json["keyring_data"]) == (
        keyring_file,
        "",
    )
    assert stored(app) == [(URL, keyring_file, None)]


def test_sending_a_source_back_as_it_was_read_changes_nothing(
    app: Flask, any_client: Script, signing_key: SigningKey
) -> None:
    made = any_client.post("boot-sources/", url=URL, keyring_data=signing_key.public).json
    answer = any_client.put(
        f"boot-sources/{made['id']}/",
        url=made["url"],
        keyring_filename=made["keyring_filename"],
        keyring_data=made["keyring_data"],
    )
    assert answer.status_code == 200
    assert stored(app) == [(URL, "", signing_key.public)]


def test_a_keyring_ends_the_consent_to_an_unsigned_source(
    app: Flask, admin: Script, keyring_file: str
) -> None:
    with app.app_context():
        source_id = factories.boot_source(is_unsigned=True, keyring_filename="").id
    assert admin.put(f"boot-sources/{source_id}/", url=URL).status_code == 200
    with app.app_context():
        assert db.session.get_one(BootSource, source_id).is_unsigned
    admin.put(f"boot-sources/{source_id}/", keyring_filename=keyring_file)
    with app.app_context():
        assert not db.session.get_one(BootSource, source_id).is_unsigned


def test_a_source_is_deleted_with_its_selections(
    app: Flask, any_client: Script, source_id: int
) -> None:
    with app.app_context():
        factories.selection(db.session.get_one(BootSource, source_id))
    answer = any_client.delete(f"boot-sources/{source_id}/")
    assert answer.status == "204 No Content"
    assert answer.content_type == "text/plain"
    assert answer.data == b""
    assert any_client.get(f"boot-sources/{source_id}/").status_code == 404
    with app.app_context():
        assert db.session.scalars(select(BootSourceSelection)).all() == []


def test_every_change_is_recorded_with_the_name_of_who_made_it(
    app: Flask, admin: Script, keyring_file: str
) -> None:
    source_id = admin.post("boot-sources/", url=URL, keyring_filename=keyring_file).json["id"]
    admin.put(f"boot-sources/{source_id}/", url="https://mirror.example.test/stable/")
    admin.delete(f"boot-sources/{source_id}/")
    with app.app_context():
        events = db.session.execute(
            select(Event.kind, Event.actor)
            .where(Event.kind.startswith("source."))
            .order_by(Event.id)
        ).all()
    assert [kind for kind, _ in events] == ["source.added", "source.changed", "source.removed"]
    assert {actor for _, actor in events} != {""}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"keyring_filename": "{file}"}, {"url": ["This field is required."]}),
        ({"url": "", "keyring_filename": "{file}"}, {"url": ["This field is required."]}),
        (
            {"url": URL},
            {"__all__": ["One of keyring_data or keyring_filename must be specified."]},
        ),
        (
            {"url": URL, "keyring_filename": "", "keyring_data": ""},
            {"__all__": ["One of keyring_data or keyring_filename must be specified."]},
        ),
        (
            {"url": URL, "keyring_filename": "{file}", "keyring_data": b"x"},
            {"__all__": ["Only one of keyring_filename or keyring_data can be specified."]},
        ),
    ],
)
def test_a_source_that_lacks_something_is_refused_by_field(
    app: Flask,
    any_client: Script,
    keyring_file: str,
    sent: dict[str, str | bytes],
    expected: dict[str, list[str]],
) -> None:
    values = {k: v.format(file=keyring_file) if isinstance(v, str) else v for k, v in sent.items()}
    answer = any_client.post("boot-sources/", **values)
    assert answer.status == "400 Bad Request"
    assert answer.content_type == "application/json; charset=utf-8"
    assert answer.json == expected
    assert stored(app) == []


@pytest.mark.parametrize("url", ["nonsense", "ftp://images.example.test/", "http://", "http://[::"])
def test_an_address_that_is_none_is_refused(
    app: Flask, admin: Script, keyring_file: str, url: str
) -> None:
    answer = admin.post("boot-sources/", url=url, keyring_filename=keyring_file)
    assert answer.status_code == 400
    assert answer.json["url"][0] == "Enter a valid URL."
    assert stored(app) == []


def test_an_address_is_taken_once(
    any_client: Script, source_id: int, keyring_file: str, app: Flask
) -> None:
    taken = {"url": ["Boot source with this Url already exists."]}
    again = any_client.post("boot-sources/", url=URL, keyring_filename=keyring_file)
    assert (again.status_code, again.json) == (400, taken)
    with app.app_context():
        other = factories.boot_source(keyring_filename=keyring_file).id
    moved = any_client.put(f"boot-sources/{other}/", url=URL)
    assert (moved.status_code, moved.json) == (400, taken)


@pytest.mark.parametrize(
    "keyring",
    [b"<html>sign in</html>", b"", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n", b"\x99\x00"],
)
def test_a_keyring_that_is_none_is_refused(app: Flask, admin: Script, keyring: bytes) -> None:
    answer = admin.post("boot-sources/", url=URL, keyring_data=keyring)
    assert answer.status_code == 400
    assert list(answer.json) == ["keyring_data" if keyring else "__all__"]
    assert stored(app) == []


def test_a_private_key_is_refused_and_not_repeated(
    app: Flask, admin: Script, signing_key: SigningKey
) -> None:
    answer = admin.post("boot-sources/", url=URL, keyring_data=signing_key.secret)
    assert answer.status_code == 400
    assert "private key" in answer.json["keyring_data"][0]
    assert "BEGIN PGP PRIVATE" not in answer.text
    assert stored(app) == []


def test_text_that_is_no_keyring_says_in_which_forms_one_may_come(admin: Script) -> None:
    answer = admin.post("boot-sources/", url=URL, keyring_data="my keyring!")
    assert answer.json == {"keyring_data": ["Send the keyring as a file, armored text or base64."]}


@pytest.mark.parametrize(
    "path",
    ["/nowhere/keyring.gpg", "/dev/zero", "/", "/" + "k" * 5000, "keys/../../x", "/root\x7f"],
)
def test_a_keyring_file_that_cannot_be_read_is_refused(
    app: Flask, admin: Script, path: str
) -> None:
    answer = admin.post("boot-sources/", url=URL, keyring_filename=path)
    assert answer.status_code == 400
    assert list(answer.json) == ["keyring_filename"]
    assert stored(app) == []


def test_a_source_that_is_not_there_is_not_found(any_client: Script) -> None:
    for number in ("0", "999", "2147483648", "9" * 30, "9" * 4000, "-1", "x", "1.0", "1/2", "%00"):
        for method in ("GET", "PUT", "DELETE"):
            answer = any_client.call(method, f"boot-sources/{number}/", "", {})
            assert answer.status == "404 Not Found", (method, number)
            assert (answer.text, answer.content_type) == ("Not Found", "text/plain; charset=utf-8")


def test_the_exact_bytes_of_a_change_that_the_command_line_sends(
    admin: Script, app: Flask, keyring_file: str
) -> None:
    # A value of more than 76 characters wraps over several base64 lines.
    url = f"http://images.example.test/{'long/' * 40}"
    request = admin.dialect.request(
        "POST",
        f"{API}boot-sources/",
        admin.key,
        "",
        {"url": url, "keyring_filename": keyring_file},
    )
    assert request.body.startswith(
        b"--===============2791450846718540239==\r\n"
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: form-data; name="url"\r\n'
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"\r\n"
        b"aHR0cDovL2ltYWdlcy5leGFtcGxlLnRlc3QvbG9uZy9sb25nL2xvbmcvbG9uZy9sb25nL2xvbmcv\r\n"
    )
    assert request.body.endswith(b"\r\n--===============2791450846718540239==--")
    assert admin.send(request).status_code == 201
    assert stored(app)[0][0] == url


def test_products_that_may_differ_are_confirmed_one_value_each(
    app: Flask, any_client: Script, source_id: int
) -> None:
    path = f"boot-sources/{source_id}/"

    def confirmed() -> list[str]:
        with app.app_context():
            return list(db.session.scalars(select(BootSource)).one().confirmed_products)

    assert any_client.put(path, confirmed_products=["a:1", "b:2"]).status_code == 200
    assert confirmed() == ["a:1", "b:2"]
    assert any_client.put(path, url=URL).status_code == 200
    assert confirmed() == ["a:1", "b:2"]
