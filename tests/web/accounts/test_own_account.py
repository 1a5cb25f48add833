# SPDX-License-Identifier: Apache-2.0
"""One's own password and API keys."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support import factories
from tests.web.accounts.passwords import NEW
from tests.web.visitors import PASSWORD, Visitor, everything, text_of
from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import APIKey, Role
from webapp.services.accounts import credentials, keys, sessions, users


def change(visitor: Visitor, current: str, password: str, again: str | None = None) -> int:
    form = {"current": current, "password": password, "again": again or password}
    return visitor.post("/account/password", form).status_code


# -- one's own password


def test_a_new_password_replaces_the_old_and_ends_other_sessions(
    app: Flask, maria: Visitor, visit: Callable[..., Visitor]
) -> None:
    other = visit(address="192.0.2.9")
    other.sign_in("maria")
    assert change(maria, PASSWORD, NEW) == 303
    assert maria.is_signed_in()
    assert not other.is_signed_in()
    assert other.sign_in("maria", PASSWORD).status_code == 422
    assert other.sign_in("maria", NEW).status_code == 303


@pytest.mark.parametrize(
    ("current", "password", "again", "words"),
    [
        ("wrong", NEW, NEW, "Wrong current password."),
        (PASSWORD, "short", "short", "Use at least 8 characters"),
        (PASSWORD, "qwertyuiop", "qwertyuiop", "too common"),
        (PASSWORD, NEW, "other", "Passwords don't match."),
        ("", NEW, NEW, "Enter your current password."),
    ],
)
def test_a_refused_change_keeps_the_password(
    maria: Visitor, current: str, password: str, again: str, words: str
) -> None:
    form = {"current": current, "password": password, "again": again}
    response = maria.post("/account/password", form)
    assert response.status_code == 422
    assert words in text_of(response)
    assert maria.sign_in("maria", PASSWORD).status_code == 303


def test_guessing_the_current_password_is_throttled(maria: Visitor) -> None:
    answers = [change(maria, f"wrong {number}", NEW) for number in range(9)]
    assert answers == [422] * 8 + [429]


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "  spaces count  ",
        "Ünïcödé pässwörd 🔑",
        "x9kQ-7tWz_4mVp" * 9 + "ab",
        "'; DROP TABLE user; --",
        "{{ 7 * 7 }} and more",
    ],
)
def test_any_characters_make_a_password(region: Flask, password: str) -> None:
    user = users.create_user("maria", password, Role.VIEWER)
    assert sessions.check_again(user, password, address="192.0.2.1")
    assert not sessions.check_again(user, password.strip() + "x", address="192.0.2.1")


# -- API keys


def new_key(visitor: Visitor, name: str = "nightly script") -> str:
    visitor.post("/account/keys", {"name": name})
    found = re.search(r'id="new-key">([^<]+)<', visitor.get("/account").text)
    assert found
    return found[1]


def test_a_key_is_shown_once_and_stored_as_a_hash(app: Flask, maria: Visitor) -> None:
    key = new_key(maria)
    assert re.fullmatch(r"[A-Za-z0-9]{18}:[A-Za-z0-9]{18}:[A-Za-z0-9]{43}", key)
    secret = key.rpartition(":")[2]
    assert secret not in maria.get("/account").text
    assert secret not in repr(everything(app))


def test_the_cookie_that_carries_a_new_key_hides_it(maria: Visitor) -> None:
    maria.post("/account/keys", {"name": "script"})
    with maria.client.session_transaction() as kept:
        sealed = kept["new_api_key"]
    shown = re.search(r'id="new-key">([^<]+)<', maria.get("/account").text)
    assert shown
    assert shown[1].rpartition(":")[2] not in sealed


def test_a_key_opens_the_api_for_its_user_and_is_marked_as_used(app: Flask, maria: Visitor) -> None:
    parts = new_key(maria).split(":")
    with app.app_context():
        key = keys.check_api_key(*parts)
        assert key
        assert key.user.username == "maria"
        assert db.session.scalars(select(APIKey.used_at)).one()


def test_every_part_of_a_key_counts(app: Flask, maria: Visitor) -> None:
    consumer, token, secret = new_key(maria).split(":")
    with app.app_context():
        for wrong in (
            ("x", token, secret),
            (consumer, "x", secret),
            (consumer, token, secret[:-1]),
            (consumer, token, ""),
            (consumer, token, secret + "\0"),
            ("\0", "\0", "\0"),
            ("", "", ""),
        ):
            assert keys.check_api_key(*wrong) is None


def test_a_key_of_a_disabled_user_stops_working(app: Flask, maria: Visitor) -> None:
    parts = new_key(maria).split(":")
    with app.app_context():
        users.set_active(users.user_named("maria"), False, actor="test")
        assert keys.check_api_key(*parts) is None


def test_a_revoked_key_stops_working_after_a_page_that_asks(app: Flask, maria: Visitor) -> None:
    parts = new_key(maria).split(":")
    with app.app_context():
        key_id = db.session.scalars(select(APIKey.id)).one()
    asked = maria.get(f"/account/keys/{key_id}/revoke")
    assert "can't be undone" in text_of(asked)
    assert maria.post(f"/account/keys/{key_id}/revoke").status_code == 303
    with app.app_context():
        assert keys.check_api_key(*parts) is None
    assert maria.get(f"/account/keys/{key_id}/revoke").status_code == 404


def test_no_user_sees_or_revokes_the_key_of_another(
    app: Flask, maria: Visitor, administrator: Visitor
) -> None:
    new_key(maria)
    with app.app_context():
        key_id = db.session.scalars(select(APIKey.id)).one()
    assert administrator.get(f"/account/keys/{key_id}/revoke").status_code == 404
    assert administrator.post(f"/account/keys/{key_id}/revoke").status_code == 404
    with app.app_context():
        assert db.session.scalars(select(APIKey.id)).one() == key_id


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "two\nlines"])
def test_a_key_needs_a_name(app: Flask, maria: Visitor, name: str) -> None:
    assert maria.post("/account/keys", {"name": name}).status_code == 422
    with app.app_context():
        assert db.session.scalars(select(APIKey)).all() == []


def test_keys_are_counted(region: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MAX_EACH", 2)
    user = factories.user()
    for _ in range(2):
        keys.create_api_key(user, "script")
    with pytest.raises(InvalidFields, match="Revoke one first"):
        keys.create_api_key(user, "script")
