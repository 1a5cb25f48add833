# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support import factories
from tests.support.databases import Queries
from tests.web.visitors import PASSWORD, Visitor, everything, leads_to, text_of
from webapp.errors import Conflict, InvalidFields, NotFound
from webapp.extensions import db
from webapp.models import APIKey, Event, LoginSession, Role, User, utcnow
from webapp.services.accounts import credentials, keys, sessions, users

NEW = "a quite different passphrase"
Count = Callable[[], AbstractContextManager[Queries]]


@pytest.fixture
def maria(app: Flask, visit: Callable[..., Visitor]) -> Visitor:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    visitor = visit()
    visitor.sign_in("maria")
    return visitor


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
        "x9" * 32 + "ab" * 32,
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
        user = keys.check_api_key(*parts)
        assert user
        assert user.username == "maria"
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


def test_a_key_of_somebody_kept_out_stops_working(app: Flask, maria: Visitor) -> None:
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


def test_nobody_sees_or_revokes_the_key_of_somebody_else(
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


# -- users


def test_an_administrator_adds_a_user(
    app: Flask, administrator: Visitor, visit: Callable[..., Visitor]
) -> None:
    form = {"username": "Jonas", "role": "operator", "password": PASSWORD}
    assert leads_to(administrator.post("/users/add", form)) == "/users/"
    assert "jonas Operator Active never" in text_of(administrator.get("/users/"))
    assert visit().sign_in("jonas").status_code == 303
    with app.app_context():
        event = db.session.scalars(select(Event).where(Event.kind == "user.added")).one()
        assert (event.actor, event.subject) == (administrator.username, "jonas")
        assert event.detail == {"role": "operator"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"username": "maria"}, "A user with this name already exists."),
        ({"username": "MARIA"}, "A user with this name already exists."),
        ({"username": "a b"}, "Use 1 to 150 letters"),
        ({"username": "x" * 151}, "Use 1 to 150 letters"),
        ({"role": "root"}, "Not a valid choice."),
        ({"password": "jonas-1234"}, "base the password on the user name"),
        ({"password": ""}, "Choose a password."),
    ],
)
def test_a_wrong_user_is_refused_at_its_field(
    app: Flask, administrator: Visitor, wrong: dict[str, str], words: str
) -> None:
    with app.app_context():
        factories.user("maria")
    before = everything(app)
    form = {"username": "jonas", "role": "viewer", "password": PASSWORD, **wrong}
    response = administrator.post("/users/add", form)
    assert response.status_code == 422
    assert words in text_of(response)
    assert everything(app) == before


def test_a_name_taken_meanwhile_is_refused(region: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    new_user = users._new_user

    def taken_meanwhile(name: str, password: str, role: Role) -> User:
        made = new_user(name, password, role)
        factories.user("maria")
        return made

    monkeypatch.setattr(users, "_new_user", taken_meanwhile)
    with pytest.raises(InvalidFields, match="already"):
        users.create_user("maria", PASSWORD, Role.VIEWER)
    assert [user.username for user in users.list_users()] == ["maria"]


def test_a_new_role_counts_at_once(app: Flask, administrator: Visitor, viewer: Visitor) -> None:
    assert viewer.get("/users/").status_code == 403
    response = administrator.post(f"/users/{viewer.user_id}/role", {"role": "administrator"})
    assert response.status_code == 303
    assert viewer.get("/users/").status_code == 200


def test_a_reset_password_ends_the_sessions(
    app: Flask, administrator: Visitor, maria: Visitor
) -> None:
    with app.app_context():
        user_id = users.user_named("maria").id
    response = administrator.post(f"/users/{user_id}/password", {"password": NEW})
    assert response.status_code == 303
    assert not maria.is_signed_in()
    assert maria.sign_in("maria", NEW).status_code == 303


def test_ones_own_password_cannot_be_reset_without_the_current_one(
    app: Flask, administrator: Visitor
) -> None:
    before = everything(app)
    path = f"/users/{administrator.user_id}/password"
    assert administrator.post(path, {"password": NEW}).status_code == 409
    assert everything(app) == before


def test_somebody_kept_out_is_out_at_once_and_may_come_back(
    app: Flask, administrator: Visitor, viewer: Visitor
) -> None:
    path = f"/users/{viewer.user_id}/active"
    administrator.post(path, {"is_active": "no"})
    assert not viewer.is_signed_in()
    assert "Disabled" in text_of(administrator.get("/users/"))
    administrator.post(path, {"is_active": "yes"})
    assert not viewer.is_signed_in()  # the session has ended; a new one may begin
    assert "Disabled" not in text_of(administrator.get("/users/"))


@pytest.mark.parametrize(
    ("path", "form"), [("role", {"role": "viewer"}), ("active", {"is_active": "no"})]
)
def test_the_last_administrator_stays(
    app: Flask, administrator: Visitor, path: str, form: dict[str, str]
) -> None:
    with app.app_context():
        factories.user(role=Role.ADMINISTRATOR, is_active=False)
    before = everything(app)
    response = administrator.post(f"/users/{administrator.user_id}/{path}", form)
    assert response.status_code == 409
    assert "This is the last administrator." in text_of(response)
    assert everything(app) == before


@pytest.mark.parametrize(
    ("path", "form"), [("role", {"role": "operator"}), ("active", {"is_active": "no"})]
)
def test_one_of_two_administrators_may_go(
    app: Flask, administrator: Visitor, path: str, form: dict[str, str]
) -> None:
    with app.app_context():
        factories.user(role=Role.ADMINISTRATOR)
    response = administrator.post(f"/users/{administrator.user_id}/{path}", form)
    assert response.status_code == 303


@pytest.mark.both_databases
def test_two_administrators_who_demote_each_other_do_not_both_succeed(region: Flask) -> None:
    names = [factories.user(role=Role.ADMINISTRATOR).username for _ in range(2)]
    barrier, outcomes = threading.Barrier(2), []

    def demote(name: str) -> None:
        with region.app_context():
            user = users.user_named(name)
            barrier.wait(10)
            try:
                users.change_role(user, Role.VIEWER, actor="other")
                outcomes.append("done")
            except Conflict:
                outcomes.append("refused")
            finally:
                db.session.remove()

    threads = [threading.Thread(target=demote, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["done", "refused"]
    db.session.rollback()
    assert [user.role for user in users.list_users()].count(Role.ADMINISTRATOR) == 1


def test_a_user_who_is_not_there_is_not_found(administrator: Visitor) -> None:
    response = administrator.get("/users/4711")
    assert response.status_code == 404
    assert "User not found." in text_of(response)


def test_names_are_looked_up_in_any_case(region: Flask) -> None:
    factories.user("maria")
    assert users.user_named(" Maria ").username == "maria"
    with pytest.raises(NotFound):
        users.user_named("jonas")


def test_texts_of_users_are_shown_as_text(app: Flask, administrator: Visitor) -> None:
    with app.app_context():
        user = factories.user("<b onclick=x>")
        key = APIKey(
            user_id=administrator.user_id,
            name="<img src=x onerror=alert(1)>",
            consumer_key="c",
            token_key="t",
            secret_hash="h",
        )
        factories.saved(key)
        user_id = user.id
    for path in ("/users/", f"/users/{user_id}", "/account"):
        page = administrator.get(path).text
        assert "<b onclick" not in page
        assert "<img" not in page


# -- how much SQL a page takes


def test_pages_take_the_same_sql_however_much_they_show(
    app: Flask, administrator: Visitor, count_queries: Count
) -> None:
    def cost(path: str) -> int:
        with count_queries() as queries:
            assert administrator.get(path).status_code == 200
        return len(queries)

    before = {path: cost(path) for path in ("/account", "/users/")}
    assert max(before.values()) <= 6
    with app.app_context():
        for number in range(25):
            factories.user()
            now = utcnow()
            row = {"user_id": administrator.user_id, "created_at": now, "seen_at": now}
            factories.saved(LoginSession(token_hash=f"{number}", **row))
            key = {"consumer_key": f"c{number}", "token_key": f"t{number}", "secret_hash": "h"}
            factories.saved(APIKey(user_id=administrator.user_id, name="x", **key))
    assert {path: cost(path) for path in before} == before
