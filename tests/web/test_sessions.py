# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from itsdangerous import TimestampSigner
from sqlalchemy import event, func, select, update
from sqlalchemy.exc import OperationalError

from tests.web.visitors import Visitor, everything, leads_to, text_of
from webapp.extensions import db
from webapp.models import LoginSession, Role, utcnow
from webapp.services.accounts import sessions, users

PASSWORD = "correct horse battery staple"


def shift(app: Flask, **ages: timedelta) -> None:
    """Make all sessions older than they are."""
    with app.app_context():
        now = utcnow()
        db.session.execute(update(LoginSession).values({k: now - age for k, age in ages.items()}))
        db.session.commit()


def seen_at(app: Flask) -> object:
    with app.app_context():
        return db.session.scalars(select(LoginSession.seen_at)).one()


def test_a_token_has_256_random_bits_and_is_stored_as_a_hash(app: Flask, viewer: Visitor) -> None:
    with viewer.client.session_transaction() as kept:
        token = kept["_user_id"]
    assert len(token) >= 43
    assert token not in repr(everything(app))
    with app.app_context():
        row = db.session.scalars(select(LoginSession)).one()
        assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()


def test_signing_in_gives_a_new_session_and_keeps_nothing_of_the_old(
    app: Flask, stranger: Visitor
) -> None:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    stranger.get("/sign-in")
    planted = stranger.cookie()
    with stranger.client.session_transaction() as kept:
        kept["planted"] = "by somebody else"
        token_before = kept["csrf_token"]
    stranger.sign_in("maria")
    with stranger.client.session_transaction() as kept:
        assert "planted" not in kept
        assert kept.get("csrf_token") != token_before
    other = Visitor(app)
    other.client.set_cookie("slipway", planted)
    assert not other.is_signed_in()


def test_a_session_id_chosen_by_an_attacker_is_not_a_session(app: Flask, stranger: Visitor) -> None:
    with stranger.client.session_transaction() as kept:
        kept["_user_id"] = "1"
    assert leads_to(stranger.get("/account")) in ("/sign-in", "/setup")


def test_an_altered_cookie_is_no_session(viewer: Visitor) -> None:
    viewer.client.set_cookie("slipway", viewer.cookie()[:-2] + "xx")
    assert not viewer.is_signed_in()


@pytest.mark.parametrize(
    ("ages", "lives"),
    [
        ({"seen_at": timedelta(minutes=29)}, True),
        ({"seen_at": timedelta(minutes=31)}, False),
        ({"created_at": timedelta(hours=11, minutes=59)}, True),
        ({"created_at": timedelta(hours=12, minutes=1)}, False),
    ],
)
def test_a_session_ends_by_itself(
    app: Flask, viewer: Visitor, ages: dict[str, timedelta], lives: bool
) -> None:
    shift(app, **ages)
    assert viewer.is_signed_in() is lives


def test_a_person_keeps_the_session_alive(app: Flask, viewer: Visitor) -> None:
    shift(app, seen_at=timedelta(minutes=20))
    before = seen_at(app)
    viewer.get("/account")
    assert seen_at(app) != before


def test_a_page_that_polls_does_not_keep_the_session_alive(app: Flask, viewer: Visitor) -> None:
    shift(app, seen_at=timedelta(minutes=20))
    before = seen_at(app)
    answer = viewer.get("/shell/import-pill", HX_Request="true", Slipway_Poll="1")
    assert answer.status_code == 200
    assert seen_at(app) == before


def test_the_session_is_not_written_with_every_request(app: Flask, viewer: Visitor) -> None:
    before = seen_at(app)
    for _ in range(3):
        viewer.get("/account")
    assert seen_at(app) == before


def test_pages_open_while_nothing_can_be_written(app: Flask, viewer: Visitor) -> None:
    shift(app, seen_at=timedelta(minutes=20))

    def full(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE login_session"):
            raise OperationalError(statement, {}, Exception("database or disk is full"))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", full)
    try:
        assert viewer.is_signed_in()
    finally:
        event.remove(engine, "before_cursor_execute", full)


def test_the_account_lists_the_sessions_and_ends_each(
    app: Flask, visit: Callable[..., Visitor]
) -> None:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    here, there = visit(address="192.0.2.1"), visit(address="192.0.2.2")
    for visitor in (here, there):
        visitor.sign_in("maria")
    page = text_of(here.get("/account"))
    for shown in ("192.0.2.1", "192.0.2.2", "This session"):
        assert page.count(shown) == 1
    with app.app_context():
        rows = db.session.scalars(select(LoginSession)).all()
        other = next(row.id for row in rows if row.address == "192.0.2.2")
    here.post(f"/account/sessions/{other}/end")
    assert not there.is_signed_in()
    assert here.is_signed_in()
    assert "had already ended" in text_of(
        here.get(leads_to(here.post(f"/account/sessions/{other}/end")))
    )


@pytest.mark.parametrize("path", ["/account/sessions/{other}/end", "/account/sessions/end-others"])
def test_ending_another_session_asks_for_the_password(
    path: str, app: Flask, visit: Callable[..., Visitor]
) -> None:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    here, there = visit(), visit()
    for visitor in (here, there):
        visitor.sign_in("maria")
    with app.app_context():
        other = db.session.scalar(select(func.max(LoginSession.id)))
    shift(app, confirmed_at=timedelta(hours=1))
    assert 'type="password"' in here.post(path.format(other=other)).text
    assert there.is_signed_in()


def test_ending_the_session_of_this_browser_signs_out(app: Flask, viewer: Visitor) -> None:
    with app.app_context():
        own = db.session.scalars(select(LoginSession.id)).one()
    assert leads_to(viewer.post(f"/account/sessions/{own}/end")) == "/sign-in"
    assert not viewer.is_signed_in()


def test_no_user_ends_the_session_of_another(
    app: Flask, administrator: Visitor, viewer: Visitor
) -> None:
    with app.app_context():
        of_viewer = sessions.of_user(viewer.user_id)[0].id
    administrator.post(f"/account/sessions/{of_viewer}/end")
    assert viewer.is_signed_in()


def test_all_other_sessions_end_at_once(app: Flask, visit: Callable[..., Visitor]) -> None:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    visitors = [visit(address=f"192.0.2.{n}") for n in range(3)]
    for visitor in visitors:
        visitor.sign_in("maria")
    bystander = visit(Role.VIEWER)
    visitors[0].post("/account/sessions/end-others")
    assert [visitor.is_signed_in() for visitor in visitors] == [True, False, False]
    assert bystander.is_signed_in()


@pytest.mark.settings(public_url="http://images.example.test/")
def test_the_cookie_over_http(app: Flask, stranger: Visitor) -> None:
    cookie = stranger.get("/setup").headers["Set-Cookie"]
    assert cookie.startswith("slipway=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert "Secure" not in cookie


@pytest.mark.settings(public_url="https://images.example.test/")
def test_the_cookie_over_https(app: Flask, stranger: Visitor) -> None:
    cookie = stranger.get("/setup").headers["Set-Cookie"]
    assert cookie.startswith("__Host-slipway=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_the_cookie_is_signed_with_sha_256(app: Flask, viewer: Visitor) -> None:
    assert app.secret_key
    signer = TimestampSigner(
        app.secret_key,
        salt="cookie-session",
        key_derivation="hmac",
        digest_method=hashlib.sha256,
    )
    assert signer.validate(viewer.cookie())


def test_ended_sessions_are_cleared_away(app: Flask, viewer: Visitor) -> None:
    shift(app, seen_at=timedelta(days=2))
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    Visitor(app).sign_in("maria")
    with app.app_context():
        assert len(db.session.scalars(select(LoginSession)).all()) == 1


def test_a_user_has_so_many_sessions_and_the_quietest_one_goes(
    app: Flask, viewer: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_EACH", 3)
    with app.app_context():
        user = users.create_user("maria", PASSWORD, Role.VIEWER)
        opened = [
            sessions.open_session(user, address="192.0.2.1", user_agent="").token for _ in range(5)
        ]
        assert [sessions.find(token) is not None for token in opened] == [False] * 2 + [True] * 3
    assert viewer.is_signed_in()  # another user's


def test_what_a_browser_says_about_itself_is_shown_as_text(app: Flask, stranger: Visitor) -> None:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    token = stranger.token()
    stranger.client.post(
        "/sign-in",
        data={"username": "maria", "password": PASSWORD, "csrf_token": token},
        headers={"User-Agent": "<script>alert(1)</script>" + "x" * 1000},
    )
    page = stranger.get("/account").text
    assert "<script>alert" not in page
    with app.app_context():
        assert len(db.session.scalars(select(LoginSession)).one().user_agent) == 300
