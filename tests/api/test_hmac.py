# SPDX-License-Identifier: Apache-2.0
"""HMAC-SHA1 signatures, as oauthlib's client and Cluster API's make them (rule: rest-keys)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from flask import Flask
from oauthlib.oauth1 import (
    SIGNATURE_TYPE_BODY,
    SIGNATURE_TYPE_QUERY,
    Client,
)
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from tests.api.clients import API, Request, Script, multipart
from webapp.extensions import db
from webapp.models import APIKey, APINonce, BootSource
from webapp.services.accounts import keys

HOST = "http://localhost"  # as Flask's test client calls it
FORM = "application/x-www-form-urlencoded"
IMPORTING = f"{API}boot-resources/?op=is_importing"


def signer(key: str, **options: Any) -> Client:
    """oauthlib's own client, whose default is what requests_oauthlib signs with."""
    consumer, token, secret = key.split(":")
    return Client(
        consumer,
        client_secret="",
        resource_owner_key=token,
        resource_owner_secret=secret,
        **options,
    )


def send(script: Script, method: str, target: str, body: str = "", **options: Any) -> TestResponse:
    """Sign a request with oauthlib and send what it made."""
    headers = {"Content-Type": FORM} if body else {}
    client = signer(script.key, **options)
    url, headers, body = client.sign(HOST + target, method, body or None, headers)
    target = url.removeprefix(HOST)
    return script.send(Request(method, target, dict(headers), (body or "").encode()))


def capi(script: Script, method: str, path: str, params: dict[str, str], body: Any = None) -> Any:
    """A request as spectrocloud's maas-client-go builds it: everything in the header, too."""
    consumer, token, secret = script.key.split(":")
    fields = {
        "oauth_nonce": secrets.token_hex(24),
        "oauth_consumer_key": consumer,
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(int(time.time())),
        "oauth_token": token,
        "oauth_version": "1.0",
    } | ({} if method == "PUT" else params)
    text = urlencode(sorted(fields.items())).replace("+", "%20")
    url = f"{HOST}{API}".removesuffix("/") + path
    base = f"{method}&{quote_plus(url)}&{quote_plus(text)}"
    made = hmac.new(f"&{secret}".encode(), base.encode(), hashlib.sha1).digest()
    fields["oauth_signature"] = base64.b64encode(made).decode()
    header = "OAuth " + ", ".join(f'{n}="{quote_plus(v)}"' for n, v in fields.items())
    headers = {"Accept": "application/json; charset=utf-8", "Authorization": header}
    target = API.removesuffix("/") + path
    content = b""
    if method == "GET":
        target += f"?{urlencode(params)}" if params else ""
        headers["Content-Type"] = FORM
    elif isinstance(body, bytes):
        headers["Content-Type"], content = "application/octet-stream", body
    elif body == "multipart":
        more, content = plain_multipart(params)
        headers |= more
    elif method in ("POST", "PUT"):
        headers["Content-Type"], content = FORM, urlencode(params).encode()
    return script.send(Request(method, target, headers, content))


def plain_multipart(params: dict[str, str]) -> tuple[dict[str, str], bytes]:
    """Go's mime/multipart: parts as they are, a line's end behind the last boundary."""
    parts = "".join(
        f'--bound\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in params.items()
    )
    return (
        {"Content-Type": "multipart/form-data; boundary=bound"},
        f"{parts}--bound--\r\n".encode(),
    )


def test_oauthlibs_default_signature_is_accepted(admin: Script, app: Flask) -> None:
    assert send(admin, "GET", IMPORTING).json is False
    made = send(admin, "POST", f"{API}account/?op=create_authorisation_token", "name=a+%26+b%20c")
    assert made.json["name"] == "a & b c"
    listed = send(admin, "GET", f"{API}boot-resources/?type=synced&type=synced&x=%C3%A9%20+")
    assert listed.json == []


@pytest.mark.parametrize("kind", [SIGNATURE_TYPE_QUERY, SIGNATURE_TYPE_BODY])
def test_parameters_may_be_in_the_query_or_in_the_form(admin: Script, kind: str) -> None:
    target = f"{API}account/?op=create_authorisation_token"
    made = send(admin, "POST", target, "name=script", signature_type=kind)
    assert made.json["name"] == "script"


def test_a_multipart_body_is_not_signed(admin: Script) -> None:
    headers, body = multipart({"name": "parts"})
    target = f"{API}account/?op=create_authorisation_token"
    _, signed, _ = signer(admin.key).sign(HOST + target, "POST", None, {})
    assert admin.send(Request("POST", target, headers | signed, body)).json["name"] == "parts"


def test_the_address_may_be_https_behind_a_proxy_or_have_its_default_port(admin: Script) -> None:
    for root in ("https://localhost", "http://localhost:80"):
        url, headers, _ = signer(admin.key).sign(root + IMPORTING, "GET", None, {})
        assert admin.send(Request("GET", url.removeprefix(root), dict(headers))).json is False


def test_what_is_not_signed_by_this_key_is_refused(admin: Script) -> None:
    consumer, token, secret = admin.key.split(":")
    other = Script(admin.client, f"{consumer}:{token}:{secret}x", admin.dialect)
    assert send(other, "GET", IMPORTING).status_code == 401
    unknown = Script(admin.client, f"{consumer}x:{token}:{secret}", admin.dialect)
    assert send(unknown, "GET", IMPORTING).status_code == 401
    url, headers, _ = signer(admin.key).sign(HOST + IMPORTING, "GET", None, {})
    for request in (
        Request("GET", f"{API}boot-resources/?op=is_importing&type=all", dict(headers)),
        Request("GET", f"{API}users/?op=whoami", dict(headers)),
        Request("POST", IMPORTING, dict(headers)),
    ):
        answer = admin.send(request)
        assert answer.status_code == 401
        assert answer.text.startswith("Authorization Error: Invalid signature.")
    assert admin.send(Request("GET", url.removeprefix(HOST), dict(headers))).json is False


def test_a_changed_form_is_refused(admin: Script) -> None:
    target = f"{API}account/?op=create_authorisation_token"
    _, headers, _ = signer(admin.key).sign(
        HOST + target, "POST", "name=mine", {"Content-Type": FORM}
    )
    assert admin.send(Request("POST", target, dict(headers), b"name=yours")).status_code == 401


def test_a_request_is_accepted_once(admin: Script, app: Flask) -> None:
    url, headers, _ = signer(admin.key).sign(HOST + IMPORTING, "GET", None, {})
    request = Request("GET", url.removeprefix(HOST), dict(headers))
    assert admin.send(request).status_code == 200
    again = admin.send(request)
    assert again.status_code == 401
    assert "nonce" in again.text
    with app.app_context():
        assert len(db.session.scalars(select(APINonce)).all()) == 1


@pytest.mark.parametrize(("shift", "side"), [(-301, "behind"), (+302, "ahead of")])
def test_a_clock_that_is_wrong_is_named(admin: Script, shift: int, side: str) -> None:
    at = str(int(time.time()) + shift)
    answer = send(admin, "GET", IMPORTING, timestamp=at)
    assert answer.status_code == 401
    assert f"{side} this server's clock" in answer.text


def test_a_clock_that_is_a_little_wrong_is_accepted(admin: Script) -> None:
    for shift in (-240, 240):
        at = str(int(time.time()) + shift)
        assert send(admin, "GET", IMPORTING, timestamp=at).status_code == 200


def test_old_nonces_are_forgotten(admin: Script, app: Flask) -> None:
    with app.app_context():
        key = db.session.scalars(select(APIKey)).first()
        assert key is not None
        old = int(time.time()) - keys.KEPT_NONCES_S - 1
        db.session.add(APINonce(key_id=key.id, timestamp=old, nonce="old"))
        db.session.commit()
    send(admin, "GET", IMPORTING)
    with app.app_context():
        assert "old" not in db.session.scalars(select(APINonce.nonce)).all()


@pytest.mark.parametrize("ahead_s", [1, 3600, 80_000])
def test_a_clock_that_was_ahead_and_is_set_back_makes_no_request_new(
    admin: Script, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    """The oldest timestamp that's accepted; the clock reaches the next second in between."""
    now = time.time()
    signed = signer(admin.key, timestamp=str(int(now) - keys.MAX_SKEW_S + 5))
    url, headers, _ = signed.sign(HOST + IMPORTING, "GET", None, {})
    request = Request("GET", url.removeprefix(HOST), dict(headers))
    assert admin.send(request).status_code == 200
    ahead = now + ahead_s
    with monkeypatch.context() as wrong:
        wrong.setattr(keys, "utcnow", lambda: datetime.fromtimestamp(ahead, UTC))
        wrong.setattr(time, "time", lambda: ahead)
        assert send(admin, "GET", IMPORTING).status_code == 200
    again = admin.send(request)
    assert (again.status_code, "nonce" in again.text) == (401, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": "x"},
        {"timestamp": "9" * 30},
        {"nonce": "n" * 201},
        {"signature_method": "HMAC-SHA256"},
    ],
    ids=str,
)
def test_what_cannot_be_checked_is_refused(admin: Script, fields: dict[str, str]) -> None:
    assert send(admin, "GET", IMPORTING, **fields).status_code == 401


def test_a_key_from_before_works_with_plaintext_which_makes_it_work_with_hmac(
    admin: Script, app: Flask
) -> None:
    with app.app_context():
        db.session.execute(update(APIKey).values(secret_sealed=""))
        db.session.commit()
    refused = send(admin, "GET", IMPORTING)
    assert refused.status_code == 401
    assert "only works with PLAINTEXT" in refused.text
    assert admin.get("boot-resources/", op="is_importing").json is False
    assert send(admin, "GET", IMPORTING).json is False


def test_the_secret_is_not_in_the_database_in_clear(admin: Script, app: Flask) -> None:
    secret = admin.key.split(":")[2]
    with app.app_context():
        for key in db.session.scalars(select(APIKey)):
            assert secret not in (key.secret_sealed, key.secret_hash)
            assert len(key.secret_sealed) > len(secret)


def test_a_key_sealed_with_another_secret_key_says_so(
    admin: Script, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        db.session.execute(update(APIKey).values(secret_sealed="gAAAAABnothing"))
        db.session.commit()
    assert "PLAINTEXT" in send(admin, "GET", IMPORTING).text


def test_cluster_apis_requests_byte_for_byte(admin: Script) -> None:
    """Who am I, list, create, upload in pieces of 4 MiB, read, delete, import."""
    me = capi(admin, "GET", "/users/", {"op": "whoami"})
    assert me.json["is_superuser"] is True
    assert capi(admin, "GET", "/boot-resources/", {}).json == []
    image = secrets.token_bytes(1 << 20)
    create = {
        "name": "custom/u-2204-0-k-1264-0",
        "architecture": "amd64/generic",
        "sha256": hashlib.sha256(image).hexdigest(),
        "size": str(len(image)),
        "title": "u-2204",
        "filetype": "tgz",
    }
    made = capi(admin, "POST", "/boot-resources/", create, "multipart").json
    (only,) = made["sets"].values()  # it takes the first key of all
    (file,) = only["files"].values()
    uri = file["upload_uri"].removeprefix("/MAAS/api/2.0")
    assert capi(admin, "PUT", uri, {}, image[: 1 << 19]).text == "OK"
    assert capi(admin, "PUT", uri, {}, image[1 << 19 :]).text == "OK"
    path = f"/boot-resources/{made['id']}/"
    (whole,) = capi(admin, "GET", path, {}).json["sets"].values()
    assert whole["complete"] is True
    again = capi(
        admin, "POST", "/boot-resources/", create | {"size": "5", "sha256": "ab" * 32}, "multipart"
    )
    (new,) = again.json["sets"].values()
    assert new["complete"] is False
    assert capi(admin, "DELETE", path, {}).status_code == 204
    assert capi(admin, "GET", path, {}).status == "404 Not Found"
    assert capi(admin, "POST", "/boot-resources/", {"op": "import"}).status_code == 200


def test_cluster_apis_title_with_spaces_is_signed_as_the_form_has_it(admin: Script) -> None:
    create = {"name": "spaced", "architecture": "amd64/generic", "title": "My image & more"}
    create |= {"sha256": "ab" * 32, "size": "5", "filetype": "tgz"}
    made = capi(admin, "POST", "/boot-resources/", create, "multipart")
    assert made.status_code == 201


def test_a_put_is_signed_with_its_form_or_as_maas_does_without(admin: Script, app: Flask) -> None:
    with app.app_context():
        row = BootSource(url="http://old.example.test/", keyring_filename="/nothing.gpg")
        db.session.add(row)
        db.session.commit()
        number = row.id
    target = f"{API}boot-sources/{number}/"
    for answer in (
        send(admin, "PUT", target, urlencode({"url": "ftp://x/"})),
        capi(admin, "PUT", f"/boot-sources/{number}/", {"url": "ftp://x/"}),
    ):
        assert answer.status_code == 400  # past the signature
        assert "Enter a valid URL." in answer.json["url"]


@pytest.mark.parametrize("kind", ["AUTH_HEADER", SIGNATURE_TYPE_QUERY, SIGNATURE_TYPE_BODY])
@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "1"), ("a", "2"), ("a", "1")],
        [("a", ""), ("b", "x y"), ("c", "x+y"), ("d", "~-._")],
        [("name", "é ü 漢"), ("é", "1")],
        [("a", "%20"), ("b", "%2520"), ("c", "&=?#/")],
        [("b5", "=%3D"), ("c@", ""), ("a2", "r b")],
    ],
    ids=str,
)
def test_odd_parameters_are_signed_as_rfc_5849_says(
    admin: Script, kind: str, pairs: list[tuple[str, str]]
) -> None:
    options = {} if kind == "AUTH_HEADER" else {"signature_type": kind}
    text = urlencode(pairs)
    if kind != SIGNATURE_TYPE_BODY:
        assert send(admin, "GET", f"{IMPORTING}&{text}", **options).status_code == 200
    answer = send(admin, "POST", f"{API}boot-sources/?x={quote_plus('ä /')}", text, **options)
    assert answer.status_code == 400  # signed well; a source needs a URL
    assert "url" in answer.json


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.replace("OAuth ", "oauth "),
        lambda header: header.replace("OAuth ", 'OAuth realm="MAAS", '),
        lambda header: header.replace(", ", ","),
        lambda header: header.replace(", ", " , "),
        lambda header: header.replace("HMAC-SHA1", "hmac-sha1"),
    ],
    ids=["scheme", "realm", "commas", "spaces", "method"],
)
def test_the_header_may_be_written_in_other_ways(admin: Script, change: Any) -> None:
    """The method's name is part of what was signed, so in other letters it's another request."""
    url, headers, _ = signer(admin.key).sign(HOST + IMPORTING, "GET", None, {})
    header = change(headers["Authorization"])
    answer = admin.send(Request("GET", url.removeprefix(HOST), {"Authorization": header}))
    assert answer.status_code == (401 if "hmac" in header else 200)
