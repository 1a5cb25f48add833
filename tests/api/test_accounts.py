# SPDX-License-Identifier: Apache-2.0
"""The caller, API keys, and a key for a password (rules: rest-login, rest-version)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.api.clients import API, Request, Script, check
from tests.support import factories
from webapp.extensions import db
from webapp.models import APIKey, LoginSession, Role
from webapp.services.accounts import keys as api_keys
from webapp.services.accounts import passwords, users

PASSWORD = "correct horse battery staple"
AUTHENTICATE = "/MAAS/accounts/authenticate/"


@pytest.fixture
def ada(app: Flask) -> str:
    with app.app_context():
        factories.user(
            "ada", passwords.hash_password(PASSWORD), role=Role.ADMINISTRATOR, email="ada@a.test"
        )
        db.session.remove()
    return "ada"


def sign_in(script: Script, **values: str) -> Any:
    """As aiohttp posts a dictionary."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return script.send(Request("POST", AUTHENTICATE, headers, urlencode(values).encode()))


def key_in(document: dict[str, str]) -> str:
    return ":".join(document[part] for part in ("consumer_key", "token_key", "token_secret"))


def keys(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(APIKey)) or 0


def test_whoami_returns_what_clients_expect(any_client: Script, viewer: Script) -> None:
    answer = any_client.get("users/", op="whoami")
    assert answer.status == "200 OK"
    assert answer.content_type == "application/json; charset=utf-8"
    me = answer.json
    assert me == {
        "username": me["username"],
        "email": "",
        "is_superuser": True,
        "is_local": True,
        "resource_uri": f"{API}users/{me['username']}/",
    }
    assert viewer.get("users/", op="whoami").json["is_superuser"] is False


def test_all_users_are_listed_for_administrators_only(
    admin: Script, operator: Script, ada: str
) -> None:
    listed = admin.get("users/")
    assert "ada" in [user["username"] for user in listed.json]
    assert "password" not in listed.text
    assert operator.get("users/").status == "403 Forbidden"


def test_a_key_is_made_works_and_is_revoked(app: Flask, any_client: Script) -> None:
    made = any_client.post("account/", op="create_authorisation_token", name="terraform")
    assert made.status == "200 OK"
    assert set(made.json) == {"consumer_key", "token_key", "token_secret", "name"}
    assert made.json["name"] == "terraform"
    fresh = Script(any_client.client, key_in(made.json), any_client.dialect)
    assert fresh.get("users/", op="whoami").json == any_client.get("users/", op="whoami").json
    gone = fresh.post("account/", op="delete_authorisation_token", token_key=made.json["token_key"])
    assert (gone.status, gone.content_type) == ("204 No Content", "text/plain")
    assert fresh.get("users/", op="whoami").status == "401 Unauthorized"
    assert any_client.get("users/", op="whoami").status == "200 OK"


def test_a_key_needs_no_name(any_client: Script) -> None:
    assert any_client.post("account/", op="create_authorisation_token").status_code == 200


def test_no_user_revokes_the_key_of_another(app: Flask, admin: Script, viewer: Script) -> None:
    token = admin.key.split(":")[1]
    answer = viewer.post("account/", op="delete_authorisation_token", token_key=token)
    assert answer.status == "404 Not Found"
    for wrong in ("x", "0", "\u00e9", "1" * 1000):
        answer = viewer.post("account/", op="delete_authorisation_token", token_key=wrong)
        assert answer.status == "404 Not Found"
    answer = viewer.post("account/", op="delete_authorisation_token")
    assert answer.json == {"token_key": ["This field is required."]}
    assert keys(app) == 2


def test_a_password_is_turned_into_a_key(app: Flask, stranger: Script, ada: str) -> None:
    answer = sign_in(stranger, username="Ada", password=PASSWORD, consumer="root@host")
    assert answer.status == "200 OK"
    assert answer.json["name"] == "root@host"
    script = Script(stranger.client, key_in(answer.json))
    assert script.get("users/", op="whoami").json["username"] == "ada"
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(LoginSession)) == 0


def test_a_wrong_password_gives_no_key(app: Flask, stranger: Script, ada: str) -> None:
    for name, password in (("ada", "wrong"), ("nobody", PASSWORD), ("", ""), ("ada", "")):
        answer = sign_in(stranger, username=name, password=password, consumer="root@host")
        assert answer.status == "401 Unauthorized"
        assert PASSWORD not in answer.text
    for method in ("GET", "PUT", "DELETE"):
        answer = stranger.send(Request(method, AUTHENTICATE))
        assert answer.status == "400 Bad Request"
    assert keys(app) == 0


def test_a_disabled_user_gets_no_key(app: Flask, stranger: Script, ada: str) -> None:
    with app.app_context():
        users.user_named("ada").is_active = False
        db.session.commit()
    assert sign_in(stranger, username="ada", password=PASSWORD).status_code == 401


def test_guessing_is_slowed_down(app: Flask, stranger: Script, ada: str) -> None:
    statuses = [sign_in(stranger, username="ada", password=f"wrong {n}").status for n in range(12)]
    assert statuses[0] == "401 Unauthorized"
    assert statuses[-1] == "429 Too Many Requests"
    assert sign_in(stranger, username="ada", password=PASSWORD).status_code == 429
    elsewhere = stranger.client.post(
        AUTHENTICATE,
        data={"username": "ada", "password": PASSWORD},
        environ_overrides={"REMOTE_ADDR": "198.51.100.7"},
    )
    check(elsewhere)
    assert elsewhere.status_code == 200


def test_scripts_that_sign_in_at_every_start_do_not_pile_up_keys(
    app: Flask, stranger: Script, ada: str
) -> None:
    with app.app_context():
        mine = api_keys.create_api_key(users.user_named("ada"), "made on the page")
        db.session.remove()
    made = []
    for number in range(api_keys.KEPT_LOGINS + 3):
        answer = stranger.client.post(
            AUTHENTICATE,
            data={"username": "ada", "password": PASSWORD, "consumer": "root@host"},
            environ_overrides={"REMOTE_ADDR": f"198.51.100.{number}"},
        )
        made.append(key_in(answer.json))
    working = [
        key
        for key in [mine, *made]
        if Script(stranger.client, key).get("users/", op="whoami").status_code == 200
    ]
    assert working == [mine, *made[-api_keys.KEPT_LOGINS :]]


@pytest.mark.parametrize("consumer", ["", "x" * 500, "a\nb\x07", "\u202e\u00e9"])
def test_any_name_of_a_program_will_do(stranger: Script, ada: str, consumer: str) -> None:
    answer = sign_in(stranger, username="ada", password=PASSWORD, consumer=consumer)
    assert answer.status_code == 200
