# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from tests.web.visitors import PASSWORD, Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import Event, LoginSession, Role, User
from webapp.services.accounts import passwords, users

# How many seconds the sign-in took says nothing on a shared machine: the hashes are counted.
Guesses = list[str]


@pytest.fixture
def maria(app: Flask) -> str:
    with app.app_context():
        return users.create_user("maria", PASSWORD, Role.VIEWER).username


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Guesses:
    seen: Guesses = []
    verify = passwords._HASHER.verify

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def verify(self, kept: str, password: bytes) -> bool:
            seen.append(kept)
            return verify(kept, password)

    real = passwords._HASHER
    passwords._unknown_user_hash()
    monkeypatch.setattr(passwords, "_HASHER", Counting())
    return seen


def test_name_and_password_open_a_session(app: Flask, stranger: Visitor, maria: str) -> None:
    response = stranger.sign_in(maria)
    assert (response.status_code, leads_to(response)) == (303, "/")
    assert stranger.is_signed_in()
    with app.app_context():
        event = db.session.scalars(select(Event).order_by(Event.id.desc())).first()
        assert event
        assert (event.kind, event.actor, event.subject) == ("user.signed_in", maria, "192.0.2.1")
        assert db.session.scalars(select(User)).one().last_login_at


def test_names_are_the_same_in_any_case(stranger: Visitor, maria: str) -> None:
    assert stranger.sign_in(" MARIA ").status_code == 303


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("maria", "wrong battery staple"),
        ("maria", PASSWORD + " "),
        ("maria", PASSWORD.upper()),
        ("maria", "x" * 300),
        ("nobody", PASSWORD),
        ("maria\0", PASSWORD),
        ("' OR 1=1 --", "' OR 1=1 --"),
        ("maria%", PASSWORD),
        ("x" * 5000, PASSWORD),
    ],
)
def test_every_wrong_guess_reads_the_same_and_costs_one_hash(
    stranger: Visitor, maria: str, hashed: Guesses, name: str, password: str
) -> None:
    response = stranger.sign_in(name, password)
    assert response.status_code == 422
    assert "Incorrect user name or password." in text_of(response)
    assert len(hashed) == 1
    assert not stranger.is_signed_in()


def test_a_disabled_user_cannot_sign_in(
    app: Flask, administrator: Visitor, stranger: Visitor, maria: str, hashed: Guesses
) -> None:
    with app.app_context():
        users.set_active(users.user_named(maria), False, actor="test")
    response = stranger.sign_in(maria)
    assert response.status_code == 422
    assert "Incorrect user name or password" in text_of(response)
    assert len(hashed) == 1


def test_a_refused_guess_is_recorded_without_what_was_typed(
    app: Flask, stranger: Visitor, maria: str
) -> None:
    stranger.sign_in("my secret typed into the wrong field", "another secret")
    stranger.sign_in(maria, "yet another secret")
    with app.app_context():
        kept = db.session.scalars(select(Event).where(Event.kind == "user.sign_in_refused")).all()
        assert [(event.actor, event.subject) for event in kept] == [
            ("", "192.0.2.1"),
            ("maria", "192.0.2.1"),
        ]
    assert "secret" not in repr(everything(app)["event"])


def test_the_password_is_not_given_back_by_the_form(stranger: Visitor, maria: str) -> None:
    response = stranger.sign_in(maria, "wrong battery staple")
    assert "wrong battery staple" not in response.text
    assert 'value="maria"' in response.text


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/images/?a=b", "/images/"),
        ("//evil.example.test/", "/"),
        ("https://evil.example.test/", "/"),
        ("/\\evil.example.test", "/"),
        ("\\\\evil.example.test", "/"),
        ("/%0d%0aSet-Cookie:x", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_after_sign_in_only_our_own_pages_are_opened(
    stranger: Visitor, maria: str, wanted: str, path: str
) -> None:
    response = stranger.sign_in(maria, next=wanted)
    assert response.status_code == 303
    assert response.headers["Location"].startswith("/")
    assert not response.headers["Location"].startswith("//")
    assert leads_to(response) == path


def test_a_page_that_asked_for_sign_in_is_opened_after_it(stranger: Visitor, maria: str) -> None:
    asked = stranger.get("/account?x=1")
    assert asked.headers["Location"] == "/sign-in?next=/account?x%3D1"
    assert "next=/account?x%3D1" in stranger.get(asked.headers["Location"]).text


def test_an_old_hash_is_replaced_at_the_next_sign_in(
    app: Flask, stranger: Visitor, maria: str
) -> None:
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with app.app_context():
        users.user_named(maria).password_hash = old
        db.session.commit()
    assert stranger.sign_in(maria).status_code == 303
    with app.app_context():
        kept = users.user_named(maria).password_hash
    assert kept != old
    assert not passwords.needs_rehash(kept)


def test_an_unreadable_hash_lets_no_one_in(app: Flask, stranger: Visitor, maria: str) -> None:
    with app.app_context():
        users.user_named(maria).password_hash = "!"
        db.session.commit()
    assert stranger.sign_in(maria, "!").status_code == 422


def test_signing_out_kills_the_session_on_the_server(
    app: Flask, stranger: Visitor, maria: str
) -> None:
    stranger.sign_in(maria)
    stolen = stranger.cookie()
    assert leads_to(stranger.post("/sign-out")) == "/sign-in"
    assert not stranger.is_signed_in()
    thief = Visitor(app)
    thief.client.set_cookie("slipway", stolen)
    assert not thief.is_signed_in()
    with app.app_context():
        assert db.session.scalars(select(LoginSession)).all() == []


def test_signing_in_again_ends_the_session_before(
    app: Flask, stranger: Visitor, maria: str
) -> None:
    stranger.sign_in(maria)
    stranger.sign_in(maria)
    with app.app_context():
        assert len(db.session.scalars(select(LoginSession)).all()) == 1


def test_a_signed_in_visitor_is_led_past_the_sign_in_page(
    visit: Callable[..., Visitor],
) -> None:
    response = visit(Role.VIEWER).get("/sign-in?next=/account")
    assert (response.status_code, leads_to(response)) == (303, "/account")


def test_a_form_sent_after_the_session_ended_says_that_nothing_changed(
    app: Flask, stranger: Visitor, maria: str
) -> None:
    before = everything(app)
    response = stranger.post("/account/keys", {"name": "x"})
    assert (response.status_code, response.headers["Location"]) == (303, "/sign-in")
    assert "Your session has ended. Nothing was changed." in text_of(stranger.get("/sign-in"))
    assert everything(app) == before


def test_a_part_that_asks_after_the_session_ended_leaves_for_sign_in(
    stranger: Visitor, maria: str
) -> None:
    response = stranger.get(
        "/shell/import-pill",
        HX_Request="true",
        HX_Current_URL="http://localhost/account?x=1",
    )
    assert response.status_code == 401
    assert response.headers["HX-Redirect"] == "/sign-in?next=/account?x%3D1"
