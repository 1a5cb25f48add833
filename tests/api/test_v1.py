# SPDX-License-Identifier: Apache-2.0
"""``/api/v1``: who may, what is refused and how, and every endpoint on things that are there."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.support import factories
from tests.support.databases import Queries
from tests.support.signed import SigningKey
from webapp.api.v1.dispatch import API, Endpoint
from webapp.api.v1.table import ENDPOINTS
from webapp.extensions import db
from webapp.models import (
    APIToken,
    BootSource,
    BootSourceSelection,
    Event,
    ImportRun,
    Role,
    utcnow,
)
from webapp.services.accounts import tokens, users
from webapp.services.accounts.tokens import ROLE_OF, Scope
from webapp.services.overview import health
from webapp.services.system import live_settings

ALL = tuple(Scope)


class Typed:
    """A program with a bearer token; looks at what holds for every answer."""

    def __init__(self, client: FlaskClient, token: str = "") -> None:
        self.client, self.token = client, token

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body)
        answer = self.client.open(
            path if path.startswith("/") else f"{API}/{path}",
            method=method,
            headers=sent,
            data=data,
            content_type="application/json" if data is not None else None,
        )
        check(answer)
        return answer

    def get(self, path: str, **headers: str) -> Any:
        answer = self.call("GET", path, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json


def check(answer: TestResponse) -> None:
    """No cookie, no redirect, no fault of ours; a problem is one in form."""
    assert "Set-Cookie" not in answer.headers
    assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
    assert answer.status_code not in range(300, 304)
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert answer.content_type == "application/problem+json"
        told = json.loads(answer.data)
        assert told["status"] == answer.status_code
        assert told["title"]
        assert told["code"]
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Slipway"'


@pytest.fixture
def token_of(app: Flask) -> Callable[..., Typed]:
    """A program with a token of a user of this role, with these scopes."""

    def make(role: Role = Role.ADMINISTRATOR, *scopes: str, **values: Any) -> Typed:
        with app.app_context():
            user = factories.user(role=role)
            _, token = tokens.create(user, "a program", scopes or ALL, **values)
            db.session.remove()
        return Typed(app.test_client(), token)

    return make


@pytest.fixture
def program(token_of: Callable[..., Typed]) -> Typed:
    """A program that may do everything."""
    return token_of()


# -- who may


def test_without_a_valid_token_nothing_is_told(app: Flask, program: Typed) -> None:
    for token in ("", "nonsense", "slp_" + "x" * 43, program.token + "x", "slp_\u00e4"):
        assert Typed(app.test_client(), token).call("GET", "status").status_code == 401
    stranger = app.test_client()
    for header in (f"Basic {program.token}", program.token, "Bearer", "OAuth x", "Bearer " * 2000):
        answer = stranger.get(f"{API}/status", headers={"Authorization": header})
        check(answer)
        assert answer.status_code == 401
    # No header becomes the mark of the command line on this machine.
    for name in ("slipway.local", "Slipway-Local", "slipway_local"):
        assert stranger.get(f"{API}/status", headers={name: "True"}).status_code == 401


def test_a_revoked_an_ended_and_a_disabled_users_token_mean_nothing(
    app: Flask, token_of: Callable[..., Typed]
) -> None:
    ended, revoked, disabled = token_of(days=1), token_of(), token_of(Role.VIEWER, "read")
    token_of()  # an administrator remains
    assert ended.get("me")["scopes"] == ["admin", "import", "read", "upload"]
    with app.app_context():
        rows = list(db.session.scalars(select(APIToken).order_by(APIToken.id)))
        rows[0].expires_at = rows[0].created_at
        tokens.revoke(rows[1].user, rows[1].id)
        users.set_active(rows[2].user, False, actor="a test")
    for program in (ended, revoked, disabled):
        assert program.call("GET", "me").status_code == 401


def test_only_the_hash_of_a_token_is_stored(app: Flask, program: Typed) -> None:
    with app.app_context():
        row = db.session.scalars(select(APIToken)).one()
        everything = " ".join(str(value) for value in vars(row).values())
        assert program.token not in everything
        told = str([vars(event) for event in db.session.scalars(select(Event))])
        assert program.token not in told
    assert program.get("tokens")["items"][0]["hint"] == program.token[:10]
    assert program.token not in program.call("GET", "tokens").text


def example_ids(app: Flask) -> dict[str, Any]:
    """One of each thing that an address may name."""
    with app.app_context():
        selection = factories.selection()
        resource = factories.boot_resource({"squashfs": b"x"}, release="jammy", arch="s390x")
        run = factories.import_run(state="done")
        ids = {
            "sources": selection.source_id,
            "selection_id": selection.id,
            "resources": resource.id,
            "imports": run.id,
            "users": factories.user(role=Role.ADMINISTRATOR).id,
            "version": "20240821",
        }
        db.session.remove()
    return ids


def address(endpoint: Endpoint, ids: dict[str, Any]) -> str:
    first = endpoint.path.split("/")[1]
    path = endpoint.path.replace("<int:id>", str(ids.get(first, 1)))
    path = path.replace("<int:selection_id>", str(ids["selection_id"]))
    return API + path.replace("<string:version>", ids["version"])


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.name)
def test_every_endpoint_is_for_its_scope_and_role_only(
    app: Flask, token_of: Callable[..., Typed], endpoint: Endpoint
) -> None:
    ids = example_ids(app)
    path = address(endpoint, ids)
    assert Typed(app.test_client()).call(endpoint.method, path).status_code == 401
    others = [scope for scope in Scope if scope != endpoint.scope]
    assert token_of(Role.ADMINISTRATOR, *others).call(endpoint.method, path).status_code == 403
    for role in (Role.VIEWER, Role.OPERATOR):
        status = token_of(role).call(endpoint.method, path).status_code
        if users.covers(role, ROLE_OF[endpoint.scope]):
            assert status not in (401, 403)
        else:
            assert status == 403
    with app.app_context():
        assert db.session.scalars(select(BootSource)).one(), "nothing was changed by the refused"


# -- what is refused


def test_an_unknown_address_and_a_wrong_method_are_told_apart(program: Typed) -> None:
    assert program.call("GET", "nothing").status_code == 404
    assert program.call("GET", f"{API}/").status_code == 404
    answer = program.call("DELETE", "status")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert program.call("GET", "sources/999999999999999999999").status_code == 404
    assert program.call("GET", "sources/2147483648").status_code == 404
    assert program.call("GET", "sources/x").status_code == 404
    assert program.call("DELETE", "resources/1/versions/x%0A").status_code == 404
    assert program.call("POST", "imports", Origin="http://evil.example.test").status_code == 403
    assert program.call("GET", "sources/7").json["code"] == "not-found"
    assert program.call("GET", "resources/7").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "url"),
        ({"url": "ftp://x/"}, 422, "url"),
        ({"url": "http://x/", "more": 1}, 422, "more"),
        ({"url": 7}, 422, "url"),
        ({"url": "http://x/\0"}, 422, "__all__"),
        ({"url": "http://x/", "name": "\ud800"}, 422, "__all__"),
        ({"url": "http://x/", "keyring": "%%%"}, 422, "keyring"),
        ({"url": "http://x/", "priority": 10**30}, 422, "priority"),
        ([], 422, "__all__"),
        ("x", 422, "__all__"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_field_by_field(
    program: Typed, body: Any, status: int, field: str
) -> None:
    answer = program.call("POST", "sources", body)
    assert answer.status_code == status, answer.text
    assert field in answer.json["errors"], answer.json
    assert program.get("sources")["items"] == []


def test_bodies_that_are_no_json_are_refused(program: Typed) -> None:
    def post(data: bytes, kind: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {program.token}"}
        answer = program.client.post(
            f"{API}/sources", data=data, content_type=kind, headers=headers
        )
        check(answer)
        return answer

    assert post(b"{", "application/json").status_code == 422
    assert post(b"[" * 100_000, "application/json").status_code == 422
    assert post(b"\xff\xfe", "application/json").status_code == 422
    assert post(b"url=http://x/", "application/x-www-form-urlencoded").status_code == 415
    assert post(b" " * (3 << 20), "application/json").status_code == 413


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "cursor=-1", "x=1"])
def test_a_query_that_makes_no_sense_is_refused(program: Typed, query: str) -> None:
    assert program.call("GET", f"events?{query}").status_code == 422


# -- ETag and If-Match


def test_what_is_known_is_not_sent_again_and_what_changed_is_not_overwritten(
    app: Flask, program: Typed, signing_key: SigningKey
) -> None:
    key = base64.b64encode(signing_key.public).decode()
    body = {"url": "http://127.0.0.1:9/", "keyring": key, "name": "old"}
    source_id = program.call("POST", "sources", body).json["id"]
    path = f"sources/{source_id}"
    answer = program.call("GET", path)
    tag = answer.headers["ETag"]
    again = program.call("GET", path, If_None_Match=tag)
    assert (again.status_code, again.data) == (304, b"")
    changed = program.call("PATCH", path, {"name": "new"}, If_Match=tag)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    late = program.call("PATCH", path, {"name": "lost"}, If_Match=tag)
    assert (late.status_code, late.json["code"]) == (412, "changed-meanwhile")
    assert program.call("DELETE", path, If_Match=tag).status_code == 412
    assert program.get(path)["name"] == "new"
    assert program.call("GET", path, If_None_Match=tag).status_code == 200
    with app.app_context():
        row = db.session.get_one(BootSource, source_id)
        row.error_code, row.error_what = "http-connection", "It does not answer."
        db.session.commit()
    assert program.call("DELETE", path, If_Match=changed.headers["ETag"]).status_code == 204


# -- sources and selections


def test_a_source_is_added_changed_and_removed(
    program: Typed, signing_key: SigningKey, app: Flask
) -> None:
    key = base64.b64encode(signing_key.public).decode()
    body = {"url": "http://127.0.0.1:9/", "keyring": key, "auth_kind": "basic"}
    body |= {"auth_username": "me", "auth_secret": "hidden!", "name": "lab"}
    body |= {"proxy_url": "http://user:geheim@proxy.example:3128/"}
    made = program.call("POST", "sources", body)
    assert made.status_code == 201, made.text
    assert (made.json["has_keyring_data"], made.json["keyring_filename"]) == (True, "")
    assert made.json["proxy_url"] == "http://proxy.example:3128/"
    assert "hidden!" not in made.text
    assert "geheim" not in made.text
    path = f"sources/{made.json['id']}"
    off = program.call("PATCH", path, {"is_enabled": False, "priority": 7}).json
    assert (off["is_enabled"], off["priority"], off["name"]) == (False, 7, "lab")
    assert off["has_keyring_data"] is True
    assert program.get("sources")["items"] == [off]
    assert program.call("POST", f"{path}/refresh").status_code == 202
    assert program.call("POST", "sources", body).json["errors"]["url"]
    assert program.call("DELETE", path).status_code == 204
    assert program.call("GET", path).status_code == 404


def test_selections_of_a_source_are_kept_by_it(app: Flask, program: Typed) -> None:
    with app.app_context():
        source_id = factories.cache_entry(os="ubuntu", release="noble", arch="amd64").source_id
        db.session.remove()
    path = f"sources/{source_id}/selections"
    made = program.call("POST", path, {"os": "ubuntu", "release": "noble"})
    assert made.status_code == 201, made.text
    one = f"{path}/{made.json['id']}"
    changed = program.call(
        "PUT",
        one,
        {"os": "ubuntu", "release": "noble", "arches": ["amd64"]},
        If_Match=made.headers["ETag"],
    )
    assert changed.json["arches"] == ["amd64"]
    wrong = program.call("PUT", one, {"os": "ubuntu", "release": "noble", "arches": ["vax"]})
    assert list(wrong.json["errors"]) == ["arches"]
    assert program.get(path)["items"] == [changed.json]
    assert program.call("DELETE", one).status_code == 204
    assert program.get(path)["items"] == []


# -- catalogue and plan


def test_images_are_chosen_from_the_catalogue(app: Flask, program: Typed) -> None:
    with app.app_context():
        source = factories.boot_source()
        for arch in ("amd64", "arm64"):
            factories.cache_entry(source, os="ubuntu", release="noble", arch=arch)
        db.session.remove()
    found = program.get("catalogue?os=ubuntu&arch=arm64")["items"]
    assert [(i["release"], i["arch"], i["is_selected"]) for i in found] == [
        ("noble", "arm64", False)
    ]
    body = {"add": [{"os": "ubuntu", "release": "noble", "arch": "arm64"}]}
    preview = program.call("POST", "catalogue", body | {"is_preview": True}).json
    assert (preview["added"], preview["is_done"]) == (["ubuntu/noble arm64"], False)
    assert program.get("catalogue?is_selected=true")["items"] == []
    done = program.call("POST", "catalogue", body | {"is_imported": True}).json
    assert (done["added"], done["is_done"]) == (["ubuntu/noble arm64"], True)
    assert [i["arch"] for i in program.get("catalogue?is_selected=true")["items"]] == ["arm64"]
    with app.app_context():
        assert db.session.scalars(select(ImportRun)).one().state == "queued"
        assert db.session.scalars(select(BootSourceSelection)).one().arches == ["arm64"]
    unknown = {"add": [{"os": "ubuntu", "release": "xyzzy"}]}
    assert "add" in program.call("POST", "catalogue", unknown).json["errors"]
    gone = program.call("POST", "catalogue", {"remove": body["add"]}).json
    assert gone["removed"] == ["ubuntu/noble arm64"]


@pytest.mark.parametrize("query", ["", "?os=ubuntu&arch=arm64"])
def test_ticks_that_somebody_else_changed_are_not_overwritten(
    app: Flask, program: Typed, query: str
) -> None:
    with app.app_context():
        source = factories.boot_source()
        for arch in ("amd64", "arm64"):
            factories.cache_entry(source, os="ubuntu", release="noble", arch=arch)
        db.session.remove()
    path = f"catalogue{query}"
    read = program.call("GET", path).headers["ETag"]
    add = {"add": [{"os": "ubuntu", "release": "noble", "arch": "arm64"}]}
    assert program.call("POST", path, add, If_Match=read).json["is_done"] is True
    late = program.call("POST", path, {"remove": add["add"]}, If_Match=read)
    assert (late.status_code, late.json["code"]) == (412, "changed-meanwhile")
    assert [i["arch"] for i in program.get("catalogue?is_selected=true")["items"]] == ["arm64"]
    again = program.call("GET", path).headers["ETag"]
    gone = program.call("POST", path, {"remove": add["add"]}, If_Match=again)
    assert gone.json["removed"] == ["ubuntu/noble arm64"]


def test_a_version_goes_only_from_an_image_that_is_as_it_was_read(
    app: Flask, program: Typed
) -> None:
    with app.app_context():
        resource = factories.boot_resource({"squashfs": b"old"}, release="noble")
        path = f"resources/{resource.id}"
        db.session.remove()
    late = program.call("DELETE", f"{path}/versions/1", If_Match='"what-was-read-before"')
    assert (late.status_code, late.json["code"]) == (412, "changed-meanwhile")
    read = program.call("GET", path).headers["ETag"]
    assert program.call("DELETE", f"{path}/versions/1", If_Match=read).json["code"] != (
        "changed-meanwhile"
    )


def test_the_plan_says_what_comes_and_why(app: Flask, program: Typed) -> None:
    with app.app_context():
        source = factories.boot_source(refreshed_at=factories.utcnow())
        factories.cache_entry(
            source,
            os="ubuntu",
            release="noble",
            arch="amd64",
            items=[factories.item("squashfs", b"root"), factories.item("boot-kernel", b"kernel")],
        )
        factories.selection(source, os="ubuntu", release="noble", arches=["amd64"])
        db.session.remove()
    plan = program.get("plan")
    assert [row["name"] for row in plan["fetch"]] == ["ubuntu/noble"]
    assert plan["fetch"][0]["why"]
    assert plan["bytes_to_fetch"] == len(b"root") + len(b"kernel")
    assert program.get("imports/current") == {"is_importing": False, "run": None}


# -- images and imports


def test_resources_are_listed_in_parts(app: Flask, program: Typed) -> None:
    with app.app_context():
        for number in range(7):
            factories.boot_resource({"squashfs": f"{number}".encode()}, release=f"r{number}")
        db.session.remove()
    seen: list[str] = []
    cursor: int | None = 0
    while cursor is not None:
        part = program.get(f"resources?limit=3&cursor={cursor}")
        assert len(part["items"]) <= 3
        seen += [row["name"] for row in part["items"]]
        cursor = part["next"]
    assert seen == [f"ubuntu/r{number}" for number in range(7)]
    whole = program.get("resources/1")
    assert whole["versions"][0]["is_current"] is True
    assert whole["versions"][0]["files"][0]["filename"] == "squashfs"
    assert program.get("resources?type=uploaded")["items"] == []
    assert program.get("resources?name=ubuntu/r3")["items"][0]["id"] == 4
    images = program.get("images")["items"]
    assert len(images) == 7
    assert images[0]["status"]
    assert program.get("resources/1/deletion")["frees"] == 1
    assert program.call("DELETE", "resources/1").status_code == 204
    assert program.call("GET", "resources/1").status_code == 404


def test_the_number_of_queries_does_not_depend_on_the_number_of_resources(
    app: Flask, program: Typed, count_queries: Callable[[], Any]
) -> None:
    def queries(path: str) -> int:
        with count_queries() as found:
            program.get(path)
        counted: Queries = found
        return len(counted)

    program.get("status")
    with app.app_context():
        factories.boot_resource({"squashfs": b"a"}, release="a")
        db.session.remove()
    before = {path: queries(path) for path in ("resources", "images", "catalogue", "plan")}
    with app.app_context():
        for number in range(10):
            factories.boot_resource({"squashfs": f"b{number}".encode()}, release=f"b{number}")
        db.session.remove()
    assert {path: queries(path) for path in before} == before


def test_an_import_is_started_followed_and_stopped(app: Flask, program: Typed) -> None:
    run = program.call("POST", "imports")
    assert (run.status_code, run.json["state"]) == (202, "queued")
    current = program.get("imports/current")
    assert current["is_importing"] is True
    assert current["run"]["images"] == []
    assert program.get(f"imports/{run.json['id']}")["is_active"] is True
    assert program.call("POST", "imports/stop").status_code == 202
    assert program.call("POST", "imports/stop").status_code == 404
    assert len(program.get("imports")["items"]) == 1
    assert program.call("GET", "imports/99").status_code == 404


# -- the system


def test_the_system_tells_how_it_is(app: Flask, program: Typed) -> None:
    with app.app_context():
        factories.boot_resource({"squashfs": b"12345"})
        db.session.remove()
    status = program.get("status")
    assert (len(status["images"]), status["stored_bytes"]) == (1, 5)
    found = program.get("store")
    assert (found["blobs"], found["stored_bytes"], found["kind"]) == (1, 5, "filesystem")


def test_events_are_listed_in_parts_and_by_kind(app: Flask, program: Typed) -> None:
    with app.app_context():
        for number in range(5):
            db.session.add(Event(kind="source.added", actor="ada", subject=f"s{number}"))
        db.session.commit()
    part = program.get("events?kind=source.&limit=3")
    assert [row["subject"] for row in part["items"]] == ["s4", "s3", "s2"]
    rest = program.get(f"events?kind=source.added&actor=ada&cursor={part['next']}")
    assert [row["subject"] for row in rest["items"]] == ["s1", "s0"]
    assert rest["next"] is None
    assert program.get("events?kind=sour")["items"] == []
    assert program.get("events?kind=%25.")["items"] == []


def test_settings_are_changed_all_or_none(app: Flask, program: Typed) -> None:
    bad = {"values": {"boot_images_auto_import": False, "http_proxy": "nonsense"}}
    assert program.call("PATCH", "settings", bad).status_code == 422
    assert program.call("PATCH", "settings", {"values": {"x": "y"}}).status_code == 422
    with app.app_context():
        assert live_settings.read(live_settings.AUTO_IMPORT) is True
    good = {"values": {"boot_images_auto_import": False, "http_proxy": "http://u:pw1@p:3128/"}}
    answer = program.call("PATCH", "settings", good)
    values = {row["name"]: row["value"] for row in answer.json["items"]}
    assert values["boot_images_auto_import"] is False
    assert values["http_proxy"] == "http://p:3128/"
    assert values["SLIPWAY_SECRET_KEY"] in ("********", "")
    assert "pw1" not in program.call("GET", "events?kind=setting.").text


def test_what_is_wrong_is_told_with_a_next_step(app: Flask, program: Typed) -> None:
    found = program.get("health")
    assert found["is_well"] is False
    worst = found["checks"][0]
    assert (worst["name"], worst["severity"]) == ("worker", "error")
    assert "slipway run" in worst["next_step"]
    with app.app_context():
        health.note_worker()
        factories.boot_source(
            error_code="http-timeout", error_what="It does not answer.", checked_at=utcnow()
        )
        db.session.remove()
    checks = {check["name"]: check for check in program.get("health")["checks"]}
    assert checks["worker"]["severity"] == checks["store"]["severity"] == "ok"
    assert checks["boot source 1"]["severity"] == "error"


# -- people


def test_tokens_and_keys_of_ones_own_are_made_and_revoked(
    app: Flask, program: Typed, token_of: Callable[..., Typed]
) -> None:
    made = program.call("POST", "tokens", {"name": "ci", "scopes": ["read"], "days": 7})
    assert made.status_code == 201
    reader = Typed(app.test_client(), made.json["token"])
    assert reader.get("me")["scopes"] == ["read"]
    more = reader.call("POST", "tokens", {"name": "more", "scopes": ["admin"]})
    assert more.status_code == 409
    assert program.call("POST", "tokens", {"name": "x", "scopes": ["fly"]}).status_code == 422
    other = token_of()
    assert other.call("DELETE", f"tokens/{made.json['id']}").status_code == 404
    assert program.call("DELETE", f"tokens/{made.json['id']}").status_code == 204
    assert reader.call("GET", "me").status_code == 401
    key = program.call("POST", "keys", {"name": "maas"}).json["key"]
    assert key.count(":") == 2
    listed = program.get("keys")["items"]
    assert key.split(":")[2] not in json.dumps(listed)
    assert program.call("DELETE", f"keys/{listed[0]['id']}").status_code == 204


def test_a_token_that_ends_makes_nothing_that_outlives_it(
    app: Flask, token_of: Callable[..., Typed]
) -> None:
    short = token_of(days=2)
    own_end = short.get("tokens")["items"][0]["expires_at"]
    for days in (None, 100):
        body = {"name": "longer", "days": days}
        assert short.call("POST", "tokens", body).json["expires_at"] == own_end
    sooner = short.call("POST", "tokens", {"name": "sooner", "days": 1}).json["expires_at"]
    assert sooner < own_end
    assert short.call("POST", "keys", {"name": "for ever"}).status_code == 409


def test_users_are_made_and_changed_but_never_the_last_administrator(program: Typed) -> None:
    password = "correct horse battery"
    made = program.call("POST", "users", {"username": "bo", "password": password})
    assert (made.status_code, made.json["role"]) == (201, "viewer")
    assert "password" not in made.text
    changed = program.call("PATCH", f"users/{made.json['id']}", {"role": "operator"})
    assert changed.json["role"] == "operator"
    first = next(u for u in program.get("users")["items"] if u["role"] == "administrator")
    assert program.call("PATCH", f"users/{first['id']}", {"is_active": False}).status_code == 409
    assert program.call("POST", "users", {"username": "bo", "password": "x"}).status_code == 422


# -- ESXi


def test_a_network_is_planned(program: Typed) -> None:
    config = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n"
    plan = program.call("POST", "esxi/plan", {"config": config}).json
    assert plan["is_promise"] is True
    assert all(command.startswith("esxcli ") for command in plan["commands"])
    assert program.call("POST", "esxi/plan", {"config": ": ["}).status_code == 422


# -- the document


def test_the_document_lists_every_endpoint_and_is_valid(app: Flask) -> None:
    answer = app.test_client().get(f"{API}/openapi.json")
    assert answer.status_code == 200
    document = answer.json
    assert document["openapi"].startswith("3.1")
    listed = {
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    }
    assert listed == {endpoint.name for endpoint in ENDPOINTS}
    shapes = {e.answer for e in ENDPOINTS} | {e.body for e in ENDPOINTS} - {None}
    names = [shape.__name__ for shape in shapes if shape]
    assert len(names) == len(set(names)), "two shapes of one name: one would hide the other"
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["summary"][0].isupper()
