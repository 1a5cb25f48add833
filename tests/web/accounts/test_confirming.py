# SPDX-License-Identifier: Apache-2.0
"""The password (and code) again, before a page creates or changes access."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from tests.web import routes
from tests.web.two_factor.phone import Phone, enrol, time_passes
from tests.web.visitors import PASSWORD, Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import APIKey, LoginSession, Role, User, utcnow
from webapp.services.accounts import sessions, users
from webapp.web.access import access_of

_KEPT = re.compile(r'name="confirmed_form" value="([^"]+)"')
# Every page that creates or changes access. A page that leaves this list does so on purpose.
ASKING = {
    "POST /account/sessions/1/end",
    "POST /account/sessions/end-others",
    "POST /account/keys",
    "POST /account/tokens",
    "POST /users/add",
    "POST /users/1/delete",
    "POST /users/1/active",
    "POST /users/1/keep",
    "POST /users/1/password",
    "POST /users/1/role",
    "POST /users/1/two-factor/remove",
}


def wait(app: Flask, passed: timedelta = sessions.CONFIRMED + timedelta(seconds=1)) -> None:
    """Let every confirmation be so old."""
    with app.app_context():
        db.session.execute(update(LoginSession).values(confirmed_at=utcnow() - passed))
        db.session.commit()


def kept_in(page: TestResponse) -> str:
    found = _KEPT.search(page.text)
    assert found, text_of(page)
    return found[1]


def keys(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(APIKey.name).order_by(APIKey.id)))


@pytest.fixture
def ada(app: Flask, visit: Callable[..., Visitor]) -> Visitor:
    """An administrator whose sign-in was a while ago."""
    with app.app_context():
        users.create_user("ada", PASSWORD, Role.ADMINISTRATOR)
    visitor = visit()
    visitor.sign_in("ada")
    wait(app)
    return visitor


def test_every_page_that_gives_access_asks_first(app: Flask, ada: Visitor) -> None:
    asking = [r for r in routes.pages(app) if (a := access_of(app, r.endpoint)) and a.is_confirmed]
    assert {str(route) for route in asking} == ASKING
    before = everything(app)
    for route in asking:
        page = ada.post(route.path, {"name": "x", "role": "viewer"})
        assert (page.status_code, "Confirm it's you" in page.text) == (200, True), route
    assert everything(app) == before


def test_the_form_that_was_sent_is_carried_out_after_the_password(app: Flask, ada: Visitor) -> None:
    form = {"username": "bo", "role": "operator", "password": "another good passphrase"}
    page = ada.post("/users/add", form)
    assert "another good passphrase" not in page.text
    kept = kept_in(page)
    wrong = ada.post("/users/add", {"confirmed_form": kept, "password": "wrong"})
    assert (wrong.status_code, "Wrong password." in wrong.text) == (422, True)
    done = ada.post("/users/add", {"confirmed_form": kept_in(wrong), "password": PASSWORD})
    assert leads_to(done) == "/users/"
    with app.app_context():
        assert users.user_named("bo").role == Role.OPERATOR
    assert leads_to(ada.post("/account/keys", {"name": "within minutes"})) == "/account"
    wait(app)
    assert "Confirm it's you" in ada.post("/account/keys", {"name": "later"}).text
    assert keys(app) == ["within minutes"]


@pytest.mark.parametrize("ahead", [timedelta(minutes=1), timedelta(days=3)])
def test_a_confirmation_from_before_the_clock_was_set_back_does_not_count(
    app: Flask, ada: Visitor, ahead: timedelta
) -> None:
    wait(app, -ahead)
    assert "Confirm it's you" in ada.post("/account/keys", {"name": "x"}).text
    assert keys(app) == []


def test_a_kept_form_belongs_to_its_session_and_page(
    app: Flask, ada: Visitor, visit: Callable[..., Visitor]
) -> None:
    kept = kept_in(ada.post("/account/keys", {"name": "x"}))
    other = visit()
    other.sign_in("ada")
    right = {"password": PASSWORD}
    for visitor, path, value in (
        (other, "/account/keys", kept),
        (ada, "/account/tokens", kept),
        (ada, "/account/keys", kept[:-4] + "AAAA"),
        (ada, "/account/keys", ""),
    ):
        answer = visitor.post(path, {"confirmed_form": value, "scopes": "read", **right})
        assert answer.status_code == 303
    assert keys(app) == []
    assert "timed out" in ada.get("/account").text


def test_a_stranger_confirms_nothing(app: Flask, ada: Visitor, stranger: Visitor) -> None:
    kept = kept_in(ada.post("/account/keys", {"name": "x"}))
    answer = stranger.post("/account/keys", {"confirmed_form": kept, "password": PASSWORD})
    assert leads_to(answer) == "/sign-in"
    without = ada.client.post("/account/keys", data={"confirmed_form": kept, "password": PASSWORD})
    assert without.status_code == 400, "another site can't confirm"
    assert keys(app) == []


def test_guesses_are_throttled_as_at_sign_in(app: Flask, ada: Visitor) -> None:
    kept = kept_in(ada.post("/account/keys", {"name": "x"}))
    form = {"confirmed_form": kept, "password": "wrong"}
    statuses = [ada.post("/account/keys", form).status_code for _ in range(10)]
    assert statuses[0] == 422
    assert statuses[-1] == 429
    assert ada.post("/account/keys", {**form, "password": PASSWORD}).status_code == 429
    assert keys(app) == []


def test_an_account_with_a_second_factor_needs_its_code_as_well(app: Flask, ada: Visitor) -> None:
    phone: Phone = enrol(ada)
    time_passes(app)
    wait(app)
    page = ada.post("/account/keys", {"name": "x"})
    form = {"confirmed_form": kept_in(page), "password": PASSWORD}
    for wrong in ({}, {"code": ""}, {"code": "000000"}, {"code": phone.code(), "password": "x"}):
        assert ada.post("/account/keys", {**form, **wrong}).status_code == 422, wrong
    code = phone.code()
    assert ada.post("/account/keys", {**form, "code": code}).status_code == 303
    wait(app)
    again = {**form, "confirmed_form": kept_in(ada.post("/account/keys", {"name": "y"}))}
    assert ada.post("/account/keys", {**again, "code": code}).status_code == 422, "used already"
    assert keys(app) == ["x"]


def test_keys_and_tokens_are_offered_for_ending_with_the_password(app: Flask, ada: Visitor) -> None:
    assert "Also revoke" not in ada.get("/account").text
    with app.app_context():
        db.session.execute(update(LoginSession).values(confirmed_at=utcnow()))
        db.session.commit()
    ada.post("/account/keys", {"name": "x"})
    ada.post("/account/tokens", {"name": "x", "scopes": ["read"], "days": ""})
    page = ada.get("/account")
    assert "Also revoke your 1 API key and 1 API token" in page.text
    assert re.search(r'name="is_access_revoked" value="yes" checked', page.text)
    form = {"current": PASSWORD, "password": "a quite different passphrase"}
    kept = ada.post("/account/password", {**form, "again": form["password"]})
    assert leads_to(kept) == "/account"
    assert keys(app) == ["x"]
    back = {"current": form["password"], "password": PASSWORD, "again": PASSWORD}
    ada.post("/account/password", {**back, "is_access_revoked": "yes"})
    assert "2 API keys and tokens revoked" in ada.get("/account").text
    assert keys(app) == []


def test_an_administrator_ends_anothers_keys_with_the_password(app: Flask, maria: Visitor) -> None:
    maria.post("/account/keys", {"name": "x"})
    person = Visitor(app, Role.ADMINISTRATOR)
    with app.app_context():
        path = f"/users/{db.session.scalars(select(User.id).where(User.username == 'maria')).one()}"
    assert "Also revoke 1 API key" in person.get(path).text
    form = {"password": "a quite different passphrase", "is_access_revoked": "yes"}
    assert person.post(f"{path}/password", form).status_code == 303
    assert keys(app) == []
