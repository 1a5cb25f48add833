# SPDX-License-Identifier: Apache-2.0
"""Users as an administrator manages them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.support import factories
from tests.support.databases import Queries
from tests.web.accounts.passwords import NEW
from tests.web.visitors import PASSWORD, Visitor, everything, leads_to, text_of
from webapp.errors import Conflict, InvalidFields, NotFound
from webapp.extensions import db
from webapp.models import APIKey, Event, LoginSession, RackToken, Role, User, utcnow
from webapp.services.accounts import rights, tokens, users

Count = Callable[[], AbstractContextManager[Queries]]


# -- users


def test_an_administrator_adds_a_user(
    app: Flask, administrator: Visitor, visit: Callable[..., Visitor]
) -> None:
    form = {"username": "Jonas", "role": "operator", "password": PASSWORD}
    assert leads_to(administrator.post("/users/add", form)) == "/users/"
    assert "jonas Operator Active Off never" in text_of(administrator.get("/users/"))
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


def test_a_disabled_user_is_out_at_once_and_may_come_back(
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


# -- deleting


def test_an_administrator_deletes_a_user_with_all_access(
    app: Flask, administrator: Visitor, visit: Callable[..., Visitor]
) -> None:
    with app.app_context():
        maria = users.create_user("maria", PASSWORD, Role.OPERATOR)
        _, token = tokens.create(maria, "ci", ["read"], days=1)
        user_id = maria.id
    guest = visit()
    assert guest.sign_in("maria").status_code == 303
    assert guest.is_signed_in()
    page = f"/users/{user_id}/delete"
    assert "1 API token stop" in text_of(administrator.get(page))
    assert leads_to(administrator.post(page, {})) == "/users/"
    assert "maria Operator" not in text_of(administrator.get("/users/"))
    assert not guest.is_signed_in()
    with app.app_context():
        assert tokens.check(token) is None
        event = db.session.scalars(select(Event).where(Event.kind == "user.deleted")).one()
        assert (event.actor, event.subject) == (administrator.username, "maria")
        assert event.detail == {"revoked": 1}


def test_nobody_deletes_themselves_or_the_last_administrator(
    app: Flask, administrator: Visitor
) -> None:
    with app.app_context():
        own = users.user_named(administrator.username)
        answer = administrator.post(f"/users/{own.id}/delete", {})
        assert "delete your own account" in text_of(answer)
        with pytest.raises(Conflict, match="last administrator"):
            users.remove(own, actor="command line")
        assert [user.username for user in users.list_users()] == [own.username]


def test_a_user_created_by_a_deleted_ones_token_is_disabled(region: Flask) -> None:
    factories.user("root", role=Role.ADMINISTRATOR)
    maria = factories.user("maria", role=Role.ADMINISTRATOR)
    _, token = tokens.create(maria, "ci", list(rights.Scope), days=1)
    child = users.create_user("child", PASSWORD, Role.VIEWER, parent=tokens.check(token))
    users.remove(maria, actor="root")
    db.session.refresh(child)
    assert not child.is_active


@pytest.mark.parametrize("what", ["deleted", "disabled", "demoted", "reset"])
def test_a_user_who_is_kept_out_leaves_no_token_that_enrols_racks(region: Flask, what: str) -> None:
    factories.user("root", role=Role.ADMINISTRATOR)
    maria = factories.user("maria", role=Role.ADMINISTRATOR)
    for name in ("maria", "root"):
        ends = utcnow() + timedelta(days=1)
        factories.saved(
            RackToken(token_hash=name, created_by=name, expires_at=ends, uses=9, uses_left=9)
        )
    if what == "deleted":
        users.remove(maria, actor="root")
    elif what == "disabled":
        users.set_active(maria, False, actor="root")
    elif what == "demoted":
        users.change_role(maria, Role.VIEWER, actor="root")
    else:
        users.set_password(maria, NEW, actor="root", is_access_revoked=True)
    assert [one.created_by for one in db.session.scalars(select(RackToken))] == ["root"]


def test_the_list_shows_who_has_a_second_factor(app: Flask, administrator: Visitor) -> None:
    with app.app_context():
        factories.user("maria").totp_secret = "sealed"
        db.session.commit()
    assert "maria Viewer Active On never" in text_of(administrator.get("/users/"))
