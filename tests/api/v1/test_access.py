# SPDX-License-Identifier: Apache-2.0
"""``/api/v1``: who may, what is refused and how."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.api.v1.typed import Typed, check
from tests.support import factories
from tests.support.signed import SigningKey
from webapp.api.v1.dispatch import API, Endpoint
from webapp.api.v1.table import ENDPOINTS
from webapp.extensions import db
from webapp.models import (
    APIToken,
    BootSource,
    Event,
    Role,
)
from webapp.services.accounts import rights, tokens, users
from webapp.services.accounts.rights import Scope

# -- who may


def test_without_a_valid_token_nothing_is_revealed(app: Flask, program: Typed) -> None:
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
    assert ended.get("me")["scopes"] == sorted(Scope)
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
    others = [scope for scope in Scope if scope != endpoint.right.scope]
    assert token_of(Role.ADMINISTRATOR, *others).call(endpoint.method, path).status_code == 403
    for role in (Role.VIEWER, Role.OPERATOR):
        status = token_of(role).call(endpoint.method, path).status_code
        if rights.may(role, endpoint.right):
            assert status not in (401, 403)
        else:
            assert status == 403
    with app.app_context():
        assert db.session.scalars(select(BootSource)).one(), "nothing was changed by the refused"


# -- what is refused


def test_an_unknown_address_and_a_wrong_method_are_distinguished(program: Typed) -> None:
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
    schemas = {e.answer for e in ENDPOINTS} | {e.body for e in ENDPOINTS} - {None}
    names = [schema.__name__ for schema in schemas if schema]
    assert len(names) == len(set(names)), "two schemas with one name: one would hide the other"
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["summary"][0].isupper()


def test_booleans_are_named_alike(app: Flask) -> None:
    schemas = app.test_client().get(f"{API}/openapi.json").json["components"]["schemas"]
    found = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, kind in schema.get("properties", {}).items()
        if {"boolean"} >= {one.get("type") for one in kind.get("anyOf", [kind])} - {"null"}
    }
    assert {"SourceResponse.is_enabled", "UserChangeRequest.is_active"} <= found
    odd = [one for one in found if not one.rpartition(".")[2].startswith(("is_", "has_", "can_"))]
    assert odd == []
