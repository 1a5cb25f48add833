# SPDX-License-Identifier: Apache-2.0
"""``/api/v1``: every endpoint on things that are there."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.v1.typed import Typed
from tests.support import factories
from tests.support.databases import Queries
from tests.support.signed import SigningKey
from webapp.extensions import db
from webapp.models import (
    BootSourceSelection,
    Event,
    ImportRun,
    Role,
    utcnow,
)
from webapp.services.overview import health
from webapp.services.system import live_settings

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
    assert made.json["proxy_url"] == "http://user:***@proxy.example:3128/"
    assert "hidden!" not in made.text
    assert "geheim" not in made.text
    path = f"sources/{made.json['id']}"
    change = {"is_enabled": False, "priority": 7, "mirrors": ["http://b.example.test/"]}
    off = program.call("PATCH", path, change).json
    assert (off | change, off["name"]) == (off, "lab")
    assert off["has_keyring_data"] is True
    assert program.get("sources")["items"] == [off]
    assert program.call("POST", f"{path}/refresh").status_code == 202
    assert program.call("POST", "sources", body).json["errors"]["url"]
    assert program.call("DELETE", path).status_code == 204
    assert program.call("GET", path).status_code == 404


def test_selections_of_a_source_are_kept_by_it(app: Flask, program: Typed) -> None:
    with app.app_context():
        source = factories.boot_source(checked_at=factories.utcnow())
        source_id = factories.cache_entry(source).source_id
        db.session.remove()
    path, noble = f"sources/{source_id}/selections", {"os": "ubuntu", "release": "noble"}
    made = program.call("POST", path, noble)
    assert made.status_code == 201, made.text
    one = f"{path}/{made.json['id']}"
    named = {**noble, "arches": ["amd64"]}
    changed = program.call("PUT", one, named, If_Match=made.headers["ETag"])
    assert changed.json["arches"] == ["amd64"]
    wrong = program.call("PUT", one, {"os": "ubuntu", "release": "noble", "arches": ["vax"]})
    assert list(wrong.json["errors"]) == ["arches"]
    assert program.get(path)["items"] == [changed.json]
    assert program.call("DELETE", one).status_code == 204
    assert program.get(path)["items"] == []


# -- catalogue and plan


def test_images_are_chosen_from_the_catalogue(app: Flask, program: Typed) -> None:
    with app.app_context():
        source = factories.boot_source(checked_at=factories.utcnow())
        for arch in ("amd64", "arm64"):
            factories.cache_entry(source, os="ubuntu", release="noble", arch=arch)
        db.session.remove()
    found = program.get("catalogue?os=ubuntu&arch=arm64")["items"]
    assert [(i["release"], i["arch"], i["is_selected"]) for i in found] == [
        ("noble", "arm64", False)
    ]
    body = {"add": [{"os": "ubuntu", "release": "noble", "arch": "arm64"}]}
    preview = program.call("POST", "catalogue", body | {"is_preview": True}).json
    kept = (preview["added"], preview["is_done"], preview["run"])
    assert kept == (["ubuntu/noble arm64"], False, None)
    assert program.get("catalogue?is_selected=true")["items"] == []
    done = program.call("POST", "catalogue", body | {"is_imported": True}).json
    assert (done["added"], done["is_done"]) == (["ubuntu/noble arm64"], True)
    joined = program.call("POST", "catalogue", body | {"is_imported": True}).json["run"]
    assert (done["run"]["is_new"], joined) == (True, done["run"] | {"is_new": False})
    assert [i["arch"] for i in program.get("catalogue?is_selected=true")["items"]] == ["arm64"]
    with app.app_context():
        assert db.session.scalars(select(ImportRun)).one().state == "queued"
        assert db.session.scalars(select(BootSourceSelection)).one().arches == ["arm64"]
    unknown = {"add": [{"os": "ubuntu", "release": "xyzzy"}]}
    assert "add" in program.call("POST", "catalogue", unknown).json["errors"]
    gone = program.call("POST", "catalogue", {"remove": body["add"]}).json
    assert gone["removed"] == ["ubuntu/noble arm64"]


def test_operators_select_images_and_start_imports_by_their_own_scopes(
    app: Flask, token_of: Callable[..., Typed]
) -> None:
    with app.app_context():
        factories.cache_entry(os="ubuntu", release="noble", arch="arm64")
        db.session.remove()
    body = {"add": [{"os": "ubuntu", "release": "noble"}]}
    selecting = token_of(Role.OPERATOR, "select")
    refused = selecting.call("POST", "catalogue", body | {"is_imported": True})
    assert (refused.status_code, refused.json["expected"]) == (403, "import")
    assert selecting.call("POST", "catalogue", body).json["is_done"]
    importing = token_of(Role.OPERATOR, "import", "admin")
    assert importing.call("POST", "catalogue", body).json["expected"] == "select"


@pytest.mark.parametrize("query", ["", "?os=ubuntu&arch=arm64"])
def test_selections_that_another_user_changed_are_not_overwritten(
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


def test_the_system_reports_its_state(app: Flask, program: Typed) -> None:
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
    assert values["http_proxy"] == "http://u:***@p:3128/"
    unchanged = {"values": {"http_proxy": "http://u:***@p:3128/"}}
    assert program.call("PATCH", "settings", unchanged).status_code == 200
    with app.app_context():
        assert live_settings.proxy_for_sources() == "http://u:pw1@p:3128/"
        db.session.remove()
    moved = program.call("PATCH", "settings", {"values": {"http_proxy": "http://u:***@q:3128/"}})
    assert "again" in moved.text
    assert values["SLIPWAY_SECRET_KEY"] in ("********", "")
    assert "pw1" not in program.call("GET", "events?kind=setting.").text


def test_what_is_wrong_is_reported_with_a_next_step(app: Flask, program: Typed) -> None:
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
    assert reader.call("POST", "tokens", {"name": "copy"}).json["expected"] == "accounts"
    assert reader.call("DELETE", "tokens/1").json["expected"] == "accounts"
    more = token_of(Role.ADMINISTRATOR, "accounts", "read")
    assert more.call("POST", "tokens", {"name": "x", "scopes": ["admin"]}).status_code == 409
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
    assert short.call("POST", "keys", {"name": "not for ever"}).status_code == 201
    assert short.get("keys")["items"][0]["expires_at"] == own_end


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


def test_errors_name_fields_as_the_api_does(program: Typed) -> None:
    body = {"url": "http://mirror.example.test/", "keyring": "eA==", "auth_kind": "bearer"}
    answer = program.call("POST", "sources", body | {"auth_secret": "x"})
    assert answer.status_code == 422
    assert {"keyring", "can_auth_in_clear"} == set(answer.json["errors"])


# -- ESXi


def test_a_network_is_planned(program: Typed) -> None:
    config = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n"
    plan = program.call("POST", "esxi/plan", {"config": config}).json
    assert plan["is_promise"] is True
    assert all(command.startswith("esxcli ") for command in plan["commands"])
    assert program.call("POST", "esxi/plan", {"config": ": ["}).status_code == 422
