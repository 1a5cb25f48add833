# SPDX-License-Identifier: Apache-2.0
"""Signing in with a second factor."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from tests.web.two_factor.phone import ADDRESS, NEW, Phone, begin, give, kinds, time_passes
from tests.web.visitors import PASSWORD, Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import Event, LoginSession, Role
from webapp.services.accounts import two_factor, users
from webapp.services.accounts.sessions import SignInProblem
from webapp.services.system import secrets


def count_sessions(app: Flask) -> int:
    with app.app_context():
        return len(db.session.scalars(select(LoginSession)).all())


def test_the_right_password_opens_no_session_but_asks_for_a_code(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    response = stranger.sign_in("maria", next="/account")
    assert response.headers["Location"] == "/sign-in/code?next=/account"
    assert not stranger.is_signed_in()
    assert count_sessions(app) == 1
    asked = stranger.get("/sign-in/code").text
    assert 'autocomplete="one-time-code"' in asked
    assert 'inputmode="numeric"' in asked
    assert leads_to(give(stranger, phone.code(), next="/account")) == "/account"
    assert stranger.is_signed_in()
    assert count_sessions(app) == 2


def test_after_the_code_only_our_own_pages_are_opened(
    maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    stranger.sign_in("maria")
    response = give(stranger, phone.code(), next="//evil.example.test/")
    assert response.headers["Location"] == "/"


def test_nothing_but_the_session_is_left_of_the_two_steps(
    maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    stranger.sign_in("maria")
    with stranger.client.session_transaction() as kept:
        kept["brought along"] = "x"
    give(stranger, phone.code())
    with stranger.client.session_transaction() as kept:
        assert "second_factor_pending" not in kept
        assert "brought along" not in kept


@pytest.mark.parametrize("method", ["get", "post"])
def test_no_code_is_accepted_without_a_password(
    maria: Visitor, phone: Phone, stranger: Visitor, method: str
) -> None:
    response = stranger.get("/sign-in/code") if method == "get" else give(stranger, phone.code())
    assert leads_to(response) == "/sign-in"
    assert not stranger.is_signed_in()


def test_the_second_step_belongs_to_the_browser_of_the_first(
    maria: Visitor, phone: Phone, stranger: Visitor, visit: Callable[..., Visitor]
) -> None:
    stranger.sign_in("maria")
    assert leads_to(give(visit(), phone.code())) == "/sign-in"


def test_the_code_must_follow_within_minutes(
    maria: Visitor, phone: Phone, stranger: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert two_factor.PENDING_S == 300
    stranger.sign_in("maria")
    monkeypatch.setattr(two_factor, "PENDING_S", -1)
    assert leads_to(give(stranger, phone.code())) == "/sign-in"
    assert not stranger.is_signed_in()


@pytest.mark.parametrize("change", ["password", "active", "factor"])
def test_a_change_of_the_account_voids_a_sign_in_half_done(
    app: Flask, administrator: Visitor, maria: Visitor, phone: Phone, stranger: Visitor, change: str
) -> None:
    stranger.sign_in("maria")
    with app.app_context():
        user = users.user_named("maria")
        if change == "password":
            users.set_password(user, NEW)
        elif change == "active":
            users.set_active(user, False, actor="test")
        else:
            two_factor.reset(user, actor="test")
    assert leads_to(give(stranger, phone.code())) == "/sign-in"
    assert not stranger.is_signed_in()


def test_wrong_codes_are_refused_recorded_and_not_given_back(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    stranger.sign_in("maria")
    for code in (phone.code(-3), phone.code(3), "0", "nonsense", "aaaa-" * 5 + "aaaa", "\0"):
        response = give(stranger, code)
        assert response.status_code == 422
        assert "That code is invalid, expired or already used." in text_of(response)
        assert f'value="{code}"' not in response.text
    assert not stranger.is_signed_in()
    assert kinds(app).count("user.second_factor_refused") == 6
    assert "nonsense" not in repr(everything(app))
    assert give(stranger, phone.code()).status_code == 303


def test_a_code_is_accepted_once(
    maria: Visitor, phone: Phone, stranger: Visitor, visit: Callable[..., Visitor]
) -> None:
    code, thief = phone.code(), visit()
    stranger.sign_in("maria")
    thief.sign_in("maria")
    assert give(stranger, code).status_code == 303
    assert give(thief, code).status_code == 422
    assert not thief.is_signed_in()


def test_the_code_that_turned_it_on_signs_no_one_in(maria: Visitor, stranger: Visitor) -> None:
    phone = Phone(begin(maria), [])
    code = phone.code()
    maria.post("/account/two-factor/on", {"password": PASSWORD, "code": code})
    stranger.sign_in("maria")
    assert give(stranger, code).status_code == 422


def test_a_recovery_code_signs_in_once_in_any_writing(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor, visit: Callable[..., Visitor]
) -> None:
    code, other = phone.recovery[:2]
    stranger.sign_in("maria")
    assert give(stranger, f" {code.upper().replace('-', ' ')} ").status_code == 303
    assert "9 recovery codes left" in text_of(stranger.get("/account"))
    thief = visit()
    thief.sign_in("maria")
    assert give(thief, code).status_code == 422
    assert give(thief, other).status_code == 303
    with app.app_context():
        used = select(Event.detail).where(Event.kind == "user.recovery_code_used")
        assert [detail["left"] for detail in db.session.scalars(used)] == [9, 8]


def test_guessing_codes_is_throttled_whatever_the_address(
    app: Flask, maria: Visitor, phone: Phone, visit: Callable[..., Visitor]
) -> None:
    answers = []
    for number in range(9):
        guesser = visit(address=f"198.51.100.{number}")
        guesser.sign_in("maria")
        answers.append(give(guesser, "no code"))
    assert [answer.status_code for answer in answers] == [422] * 8 + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    late = visit()
    late.sign_in("maria")
    assert give(late, phone.code()).status_code == 429
    assert not late.is_signed_in()


def test_a_right_code_fills_the_bucket_again(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    for _ in range(2):
        stranger.sign_in("maria")
        for _ in range(6):
            assert give(stranger, "no code").status_code == 422
        assert give(stranger, phone.code()).status_code == 303
        stranger.post("/sign-out")
        time_passes(app)


def test_when_the_key_cannot_be_read_recovery_codes_still_work(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    with app.app_context():
        users.user_named("maria").totp_secret = "sealed with another key"
        db.session.commit()
    stranger.sign_in("maria")
    assert give(stranger, phone.code()).status_code == 422
    assert give(stranger, phone.recovery[0]).status_code == 303


def test_a_password_alone_makes_no_api_key(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    form = {"username": "maria", "password": PASSWORD, "consumer": "script"}
    before = everything(app)
    response = stranger.client.post("/MAAS/accounts/authenticate/", data=form)
    assert response.status_code in (400, 401, 403)
    assert "two-factor" in response.text
    assert everything(app)["api_key"] == before["api_key"]


@pytest.mark.both_databases
@pytest.mark.parametrize("kind", ["code", "recovery code"])
def test_of_two_with_the_same_code_one_gets_in(region: Flask, kind: str) -> None:
    key = two_factor.new_key()
    user = users.create_user("maria", PASSWORD, Role.VIEWER)
    user.totp_secret = secrets.seal(key)
    phone = Phone(key, two_factor._give_codes(user))
    db.session.commit()
    code = phone.code() if kind == "code" else phone.recovery[0]
    barrier, outcomes = threading.Barrier(2), []

    def enter() -> None:
        with region.app_context():
            user = users.user_named("maria")
            barrier.wait(10)
            try:
                two_factor.check(user, code, address=ADDRESS)
                db.session.commit()
                outcomes.append("in")
            except SignInProblem:
                outcomes.append("refused")
            finally:
                db.session.remove()

    threads = [threading.Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["in", "refused"]
