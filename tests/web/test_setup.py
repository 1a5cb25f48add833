# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support import factories
from tests.web.visitors import PASSWORD, Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import Event, Role, Setting, User, utcnow
from webapp.services.accounts import users

FORM = {"username": "Maria", "password": PASSWORD, "again": PASSWORD}


@pytest.fixture
def code(app: Flask) -> str:
    with app.app_context():
        made = users.ensure_setup_code()
    assert made
    return made


@pytest.mark.parametrize("path", ["/", "/sign-in", "/account", "/users/"])
def test_every_page_leads_to_set_up_while_no_user_can_sign_in(stranger: Visitor, path: str) -> None:
    response = stranger.get(path)
    assert (response.status_code, leads_to(response)) == (303, "/setup")


def test_there_is_no_account_to_guess_at_the_start(stranger: Visitor) -> None:
    for name in ("admin", "root", "maas", "slipway"):
        assert stranger.sign_in(name, name).status_code == 422


def test_set_up_without_the_link_says_where_the_link_is(stranger: Visitor, code: str) -> None:
    response = stranger.get("/setup")
    assert response.status_code == 403
    assert "slipway user create NAME" in text_of(response)
    assert "password" not in response.text


def test_the_link_takes_the_code_out_of_the_address(stranger: Visitor, code: str) -> None:
    response = stranger.get(f"/setup?code={code}")
    assert (response.status_code, response.headers["Location"]) == (303, "/setup")
    assert response.headers["Referrer-Policy"] == "no-referrer"
    page = stranger.get("/setup")
    assert page.status_code == 200
    assert code not in page.text


def test_the_code_is_stored_as_a_hash_only(app: Flask, code: str) -> None:
    assert code not in repr(everything(app))


@pytest.mark.parametrize(("hours", "status"), [(23, 303), (25, 403), (-25, 403)])
def test_the_link_is_good_for_a_day(
    app: Flask,
    stranger: Visitor,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
    status: int,
) -> None:
    then = utcnow() + timedelta(hours=hours)
    monkeypatch.setattr(users, "utcnow", lambda: then)
    assert stranger.get(f"/setup?code={code}").status_code == status


def test_the_code_reaches_no_log(
    app: Flask, stranger: Visitor, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stranger.get(f"/setup?code={code}")
    stranger.post("/setup", {**FORM, "password": "short", "again": "short"})
    stranger.post("/setup", FORM)
    assert "/setup" in caplog.text
    assert code not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures("real_hashes")
def test_the_form_makes_an_administrator_who_is_signed_in(
    app: Flask, stranger: Visitor, code: str
) -> None:
    stranger.get(f"/setup?code={code}")
    response = stranger.post("/setup", FORM)
    assert (response.status_code, leads_to(response)) == (303, "/")
    assert stranger.is_signed_in()
    with app.app_context():
        user = db.session.scalars(select(User)).one()
        assert (user.username, user.role) == ("maria", Role.ADMINISTRATOR)
        assert user.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        kinds = set(db.session.scalars(select(Event.kind)))
    assert {"user.added", "user.signed_in"} <= kinds


def test_the_link_works_once(stranger: Visitor, app: Flask, code: str) -> None:
    second = Visitor(app)
    for visitor in (stranger, second):
        visitor.get(f"/setup?code={code}")
    stranger.post("/setup", FORM)
    before = everything(app)
    response = second.post("/setup", {**FORM, "username": "mallory"})
    assert response.status_code == 403
    assert "no longer valid" in text_of(response)
    assert everything(app) == before
    assert leads_to(second.get(f"/setup?code={code}")) == "/sign-in"


def test_a_wrong_code_says_how_to_get_a_new_link(stranger: Visitor, code: str) -> None:
    response = stranger.get(f"/setup?code={code[:-1]}x")
    assert response.status_code == 403
    assert "Restart Slipway" in text_of(response)
    assert stranger.post("/setup", FORM).status_code == 403


def test_a_new_start_voids_the_old_link(app: Flask, stranger: Visitor, code: str) -> None:
    with app.app_context():
        newer = users.ensure_setup_code()
    assert stranger.get(f"/setup?code={code}").status_code == 403
    assert stranger.get(f"/setup?code={newer}").status_code == 303


def test_no_link_is_made_once_a_user_can_sign_in(app: Flask, code: str) -> None:
    with app.app_context():
        factories.user()
        assert users.ensure_setup_code() is None
        assert db.session.get(Setting, "setup_code") is None
        with pytest.raises(users.SetupProblem):
            users.create_first_administrator(code, "mallory", PASSWORD)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"username": ""}, "Choose a user name."),
        ({"username": "-maria"}, "Use 1 to 150 letters"),
        ({"username": "ma ria"}, "Use 1 to 150 letters"),
        ({"password": "short", "again": "short"}, "Use at least 8 characters; this one has 5."),
        ({"password": "x" * 257, "again": "x" * 257}, "Use at most 256 characters"),
        ({"password": "Password2024!", "again": "Password2024!"}, "too common"),
        ({"password": "slipway1", "again": "slipway1"}, "too common"),
        ({"password": "maria-123", "again": "maria-123"}, "base the password on the user name"),
        ({"again": "something else"}, "Passwords don't match."),
    ],
)
def test_a_wrong_value_is_named_at_its_field_and_the_link_stays_good(
    app: Flask, stranger: Visitor, code: str, change: dict[str, str], words: str
) -> None:
    stranger.get(f"/setup?code={code}")
    before = everything(app)
    response = stranger.post("/setup", {**FORM, **change})
    assert response.status_code == 422
    assert words in text_of(response)
    assert 'aria-invalid="true"' in response.text
    assert everything(app) == before
    assert stranger.post("/setup", FORM).status_code == 303


@pytest.mark.both_databases
def test_of_many_who_redeem_the_code_at_once_one_wins(region: Flask) -> None:
    code = users.ensure_setup_code()
    assert code
    barrier, outcomes = threading.Barrier(6), []

    def redeem(name: str) -> None:
        with region.app_context():
            barrier.wait(10)
            try:
                users.create_first_administrator(code, name, PASSWORD)
                outcomes.append("made")
            except users.SetupProblem:
                outcomes.append("refused")
            finally:
                db.session.remove()

    threads = [threading.Thread(target=redeem, args=(f"user{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["made"] + ["refused"] * 5
    assert len(users.list_users()) == 1
