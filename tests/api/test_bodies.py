# SPDX-License-Identifier: Apache-2.0
"""Bodies of every kind, right and wrong, never cause a 500 (rule: rest-arguments)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.api.clients import API, BOUNDARY, Request, Script, multipart, oauth
from tests.support.signed import SigningKey
from webapp.extensions import db
from webapp.http import bodies
from webapp.models import BootSource, Event

SOURCES = f"{API}boot-sources/"
URL = "http://images.example.test/"
FORM = "application/x-www-form-urlencoded"
MULTIPART = f'multipart/form-data; boundary="{BOUNDARY}"'
QUIET = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def keyring(tmp_path: Path, signing_key: SigningKey) -> str:
    path = tmp_path / "a keyring & more.gpg"
    path.write_bytes(signing_key.public)
    return str(path)


def post(script: Script, body: bytes, content_type: str | None, path: str = SOURCES) -> Any:
    headers = oauth(script.key)
    if content_type is not None:
        headers["Content-Type"] = content_type
    return script.send(Request("POST", path, headers, body))


def part(name: str, value: bytes, *more: str) -> bytes:
    head = [f'Content-Disposition: form-data; name="{name}"', *more]
    return "\r\n".join([f"--{BOUNDARY}", *head, "", ""]).encode() + value + b"\r\n"


def closed(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def sources(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(BootSource)) or 0


# -- what is taken


def test_a_plain_multipart_body_is_read_as_curl_sends_it(
    admin: Script, keyring: str, signing_key: SigningKey
) -> None:
    body = closed(part("url", URL.encode()), part("keyring_filename", keyring.encode()))
    assert post(admin, body, MULTIPART).json["keyring_filename"] == keyring
    binary = part(
        "keyring_data",
        signing_key.public,
        "Content-Type: application/octet-stream",
    ).replace(b'name="keyring_data"', b'name="keyring_data"; filename="k.gpg"')
    body = closed(part("url", b"http://other.example.test/"), binary)
    body = body.replace(BOUNDARY.encode(), b"------------------------d74496d66958873e")
    kind = "multipart/form-data; boundary=------------------------d74496d66958873e"
    assert post(admin, body, kind).status_code == 201


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "", "quoted-printable", "BASE64 "])
def test_every_transfer_encoding_of_a_part_is_honoured(
    admin: Script, keyring: str, encoding: str
) -> None:
    encoded = {
        "quoted-printable": b"http://images=2Eexample.test/",
        "BASE64 ": base64.encodebytes(URL.encode()),
    }.get(encoding, URL.encode())
    body = closed(
        part("url", encoded, f"Content-Transfer-Encoding: {encoding}"),
        part("keyring_filename", keyring.encode()),
    )
    assert post(admin, body, MULTIPART).json["url"] == URL


def test_a_form_is_read_as_go_clients_send_it(admin: Script, keyring: str) -> None:
    body = urlencode({"url": URL, "keyring_filename": keyring}).encode()
    for content_type in (FORM, f"{FORM}; charset=utf-8", FORM.upper()):
        answer = post(admin, body, content_type)
        assert answer.json["keyring_filename"] == keyring
        admin.delete(f"boot-sources/{answer.json['id']}/")


def test_a_json_object_is_read(admin: Script, keyring: str) -> None:
    body = json.dumps({"url": URL, "keyring_filename": keyring, "keyring_data": None}).encode()
    assert post(admin, body, "application/json; charset=utf-8").status_code == 201


EMPTY: list[tuple[bytes, str | None]] = [
    (multipart({})[1], MULTIPART),
    (f"--{BOUNDARY}\r\n\r\n--{BOUNDARY}--\r\n".encode(), MULTIPART),
    (f"--{BOUNDARY}--".encode(), MULTIPART),
    (b"", MULTIPART),
    (b"", None),
    (b"", FORM),
    (b"", "application/json"),
    (b"{}", "application/json"),
    (b"anything", None),
    (b"anything", "text/plain"),
    (b"\xff\x00", "application/octet-stream"),
]


def test_a_body_that_says_nothing_has_no_arguments(admin: Script) -> None:
    for body, content_type in EMPTY:
        answer = post(admin, body, content_type, f"{API}boot-resources/?op=stop_import")
        assert answer.status_code == 200, (body, content_type)


def test_the_body_of_libmaas_without_arguments_is_82_bytes() -> None:
    headers, body = multipart({})
    assert len(body) == 82
    assert headers["Content-Type"].startswith('multipart/form-data; boundary="==')


def test_a_query_gives_no_arguments_to_a_change(app: Flask, admin: Script, keyring: str) -> None:
    query = urlencode({"url": URL, "keyring_filename": keyring})
    answer = post(admin, b"", FORM, f"{SOURCES}?{query}")
    assert answer.json["url"] == ["This field is required."]
    assert sources(app) == 0


# -- what is refused


NONSENSE: list[tuple[bytes, str | None]] = [
    (b"url=http://x/", "multipart/form-data"),
    (b"url=http://x/", "multipart/form-data; boundary="),
    (b"url=http://x/", 'multipart/form-data; boundary=""'),
    (b"x", f"multipart/form-data; boundary={'b' * 3000}"),
    (b"x", "multipart/form-data; boundary*=utf-8''%E2%82%AC"),
    (b"url=http://x/", MULTIPART),
    (f"--{BOUNDARY}\r\n".encode(), MULTIPART),
    (f"--{BOUNDARY}\r\nContent-Disposition: form-data".encode(), MULTIPART),
    (part("url", b"http://x/"), MULTIPART),
    (closed(b"--" + BOUNDARY.encode() + b"\r\nX: y\r\n\r\nz\r\n"), MULTIPART),
    (closed(b"--" + BOUNDARY.encode() + b"\r\n\xff: y\r\n\r\nz\r\n"), MULTIPART),
    (closed(part("url", b"x").replace(b'; name="url"', b"")), MULTIPART),
    (closed(part("", b"x")), MULTIPART),
    (closed(part("url", b"!!!", "Content-Transfer-Encoding: base64")), MULTIPART),
    (closed(part("url", b"aHR0cDov", "Content-Transfer-Encoding: x-gzip")), MULTIPART),
    (closed(part("url", b"\xff\xfe")), MULTIPART),
    (closed(part("url", b"http://x/\0")), MULTIPART),
    (closed(*[part("url", b"x")] * 1001), MULTIPART),
    (b"url=%FF&x=\xff", FORM),
    (b"url=http://x/%00", FORM),
    (b"a=1&" * 1001, FORM),
    (b"{", "application/json"),
    (b"[]", "application/json"),
    (b'"url"', "application/json"),
    (b"null", "application/json"),
    (b'{"url": {"a": 1}}', "application/json"),
    (b'{"url": [["a"]]}', "application/json"),
    (b'{"url": "http://x/", "url": "http://y/"}', "application/json"),
    (b'{"url": "\\ud800"}', "application/json"),
    (b'{"url": "\\u0000"}', "application/json"),
    (b'{"url": NaN}', "application/json"),
    (b'{"url": ' + b"9" * 5000 + b"}", "application/json"),
    (b"[" * 100_000, "application/json"),
    (b'{"a":' * 50_000, "application/json"),
    (b"\xef\xbb\xbf{}", "application/json"),
]


def test_a_body_that_makes_no_sense_is_refused_in_words(app: Flask, admin: Script) -> None:
    for body, content_type in NONSENSE:
        answer = post(admin, body, content_type)
        assert answer.status == "400 Bad Request", (body[:80], content_type)
        assert answer.content_type == "text/plain; charset=utf-8", (body[:80], content_type)
        assert len(answer.text) < 500
    assert sources(app) == 0


def test_a_body_that_is_too_large_is_refused_and_taken_in_first(app: Flask, admin: Script) -> None:
    body = b"url=" + b"x" * (bodies.MAX_BODY_BYTES + 1)
    answer = post(admin, body, FORM)
    assert answer.status.startswith("413 ")
    assert answer.text == "Send at most 2 MiB."
    largest = closed(part("url", b"x" * (bodies.MAX_BODY_BYTES - 200)))
    assert post(admin, largest, MULTIPART).status_code == 400
    assert sources(app) == 0


def test_a_stranger_is_refused_before_the_body_is_read(stranger: Script) -> None:
    for body, kind in ((b"{", "application/json"), (b"x" * (bodies.MAX_BODY_BYTES + 1), FORM)):
        answer = stranger.send(Request("POST", SOURCES, {"Content-Type": kind}, body))
        assert answer.status_code == 401


# -- whatever comes: no fault of ours, nothing changed


@QUIET
@given(body=st.binary(max_size=400))
def test_no_multipart_body_brings_us_down(app: Flask, admin: Script, body: bytes) -> None:
    marker = f"--{BOUNDARY}".encode()
    for whole in (body, marker + b"\r\n" + body + b"\r\n" + marker + b"--"):
        assert post(admin, whole, MULTIPART).status_code == 400
    assert sources(app) == 0


@QUIET
@given(
    values=st.dictionaries(
        st.sampled_from(["url", "keyring_filename", "keyring_data", "op", "os"]) | st.text(),
        st.text() | st.lists(st.text()) | st.integers() | st.none() | st.booleans(),
    )
)
def test_no_json_brings_us_down(app: Flask, admin: Script, values: dict[str, Any]) -> None:
    assert post(admin, json.dumps(values).encode(), "application/json").status_code == 400
    assert sources(app) == 0


@QUIET
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(["url", "keyring_filename", "keyring_data"]),
            st.text(st.characters(codec="utf-8")) | st.sampled_from([URL, "/etc/passwd", "/"]),
        )
    )
)
def test_no_form_brings_us_down(app: Flask, admin: Script, pairs: list[tuple[str, str]]) -> None:
    assert post(admin, urlencode(pairs).encode(), FORM).status_code == 400
    assert sources(app) == 0


@QUIET
@given(header=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0")))
def test_no_header_brings_us_down(stranger: Script, header: str) -> None:
    for name, prefix in (("Authorization", "OAuth "), ("Content-Type", "multipart/form-data; ")):
        for value in (header, prefix + header):
            request = Request("POST", SOURCES, {name: value}, b"x")
            assert stranger.send(request).status_code == 401


@QUIET
@given(query=st.text(st.characters(codec="utf-8", exclude_characters="#")))
def test_no_query_brings_us_down(viewer: Script, query: str) -> None:
    headers = oauth(viewer.key)
    for name in ("", "op=", "type=", "Type="):
        answer = viewer.send(Request("GET", f"{API}boot-resources/?{name}{query}", headers))
        assert answer.status_code in (200, 400)


def test_nothing_that_was_refused_left_a_trace(app: Flask, admin: Script) -> None:
    post(admin, b"url=nonsense", FORM)
    post(admin, b"{", "application/json")
    with app.app_context():
        kinds = db.session.scalars(select(Event.kind)).all()
    assert not [kind for kind in kinds if kind.startswith("source.")]
