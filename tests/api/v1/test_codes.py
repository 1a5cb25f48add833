# SPDX-License-Identifier: Apache-2.0
"""Programs send a code where the account has a second factor and access is given."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.api.clients import Script
from tests.api.v1.typed import ALL, Typed
from tests.support import factories
from tests.web.two_factor.phone import Phone
from tests.web.visitors import PASSWORD
from webapp.extensions import db
from webapp.models import Role
from webapp.services.accounts import keys, passwords, tokens, two_factor
from webapp.services.system import secrets

BO = {"username": "bo", "password": PASSWORD, "role": "administrator"}


@pytest.fixture
def coded(app: Flask) -> tuple[Typed, Phone, str]:
    """A token, the phone and the API key of an administrator with a second factor."""
    with app.app_context():
        secret = two_factor.new_key()
        user = factories.user("ada", role=Role.ADMINISTRATOR)
        user.password_hash = passwords.hash_password(PASSWORD)
        key, (_, token) = keys.create_api_key(user, "x"), tokens.create(user, "a program", ALL)
        user.totp_secret = secrets.seal(secret)
        phone = Phone(secret, two_factor._give_codes(user))
        db.session.commit()
        db.session.remove()
    return Typed(app.test_client(), token), phone, key


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "tokens", {"name": "x"}),
        ("POST", "keys", {"name": "x"}),
        ("POST", "users", BO),
        ("PATCH", "users/1", {"role": "administrator"}),
        (
            "POST",
            "me/password",
            {"current": PASSWORD, "password": "one more passphrase", "is_access_revoked": False},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_program_gives_access_without_the_code_of_an_account_that_has_one(
    coded: tuple[Typed, Phone, str], method: str, path: str, body: dict[str, Any]
) -> None:
    program, phone, _ = coded
    missing = program.call(method, path, body)
    assert (missing.status_code, missing.json["code"]) == (403, "code-required")
    assert "Slipway-Code" in missing.json["where"]
    wrong = program.call(method, path, body, Slipway_Code="000000")
    assert (wrong.status_code, wrong.json["code"]) == (403, "code-required")
    code = phone.code()
    assert program.call(method, path, body, Slipway_Code=code).status_code in (200, 201)
    replayed = program.call(
        method, path, {**body, "name": "y"} if "name" in body else body, Slipway_Code=code
    )
    assert replayed.json["code"] == "code-required", "a code counts once"


def test_codes_that_programs_send_are_throttled_as_at_sign_in(
    coded: tuple[Typed, Phone, str],
) -> None:
    program, phone, _ = coded
    statuses = [
        program.call("POST", "tokens", {"name": "x"}, Slipway_Code="000000").status_code
        for _ in range(two_factor.CODE_BUCKET.capacity + 1)
    ]
    assert statuses[-1] == 429
    assert (
        program.call("POST", "tokens", {"name": "x"}, Slipway_Code=phone.code()).status_code == 429
    )


def test_keys_are_created_by_rest_2_with_a_code_only(
    app: Flask, coded: tuple[Typed, Phone, str]
) -> None:
    _, phone, key = coded
    client = app.test_client()
    made = Script(client, key).post("account/", op="create_authorisation_token")
    assert made.status == "403 Forbidden"
    assert "Slipway-Code" in made.text
    form = {"username": "ada", "password": PASSWORD, "consumer": "x"}
    address = "/MAAS/accounts/authenticate/"
    assert client.post(address, data=form).status_code == 403
    code = {"Slipway-Code": phone.code()}
    assert client.post(address, data=form, headers=code).status_code == 200
    assert client.post(address, data=form, headers=code).status_code == 403
