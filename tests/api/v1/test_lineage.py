# SPDX-License-Identifier: Apache-2.0
"""What a token or key creates: never more, never longer, and gone with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.api.clients import Script
from tests.api.v1.typed import ALL, Typed
from tests.support import factories
from tests.web.visitors import PASSWORD, Visitor
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.models import APIKey, APIToken, Event, Role, User, utcnow
from webapp.services.accounts import keys, lineage, passwords, tokens, users
from webapp.services.accounts.rights import Scope
from webapp.services.mirror import keys as mirror_keys
from webapp.services.racks import tokens as rack_tokens

BO = {"username": "bo", "password": PASSWORD, "role": "administrator"}


class Family:
    """An administrator's token and everything that can be created with it."""

    def __init__(self, app: Flask, **values: Any) -> None:
        self.app, self.client = app, app.test_client()
        with app.app_context():
            factories.user(role=Role.ADMINISTRATOR)  # there's always another one
            owner = factories.user("ada", password_hash=passwords.hash_password(PASSWORD))
            owner.role = Role.ADMINISTRATOR
            row, token = tokens.create(owner, "parent", ALL, **values)
            self.owner_id, self.token_id = owner.id, row.id
            db.session.remove()
        self.parent = Typed(self.client, token)
        made = self.parent.call("POST", "tokens", {"name": "child", "scopes": list(ALL)}).json
        self.token, self.child_id = Typed(self.client, made["token"]), made["id"]
        self.key = self.token.call("POST", "keys", {"name": "key"}).json["key"]
        self.grandkey = self._key_of(self.key)
        self.bo_id = self.token.call("POST", "users", BO).json["id"]
        self.bo = Visitor(app)
        assert self.bo.sign_in("bo").status_code == 303
        self.bo_key = self._sign_in().json["token_key"]

    def _key_of(self, key: str) -> str:
        made = Script(self.client, key).post("account/", op="create_authorisation_token").json
        return ":".join(made[part] for part in ("consumer_key", "token_key", "token_secret"))

    def _sign_in(self) -> Any:
        form = {"username": "bo", "password": PASSWORD, "consumer": "x"}
        return self.client.post("/MAAS/accounts/authenticate/", data=form)

    def alive(self) -> set[str]:
        """Who still gets in, by every way that leads in."""
        found = {
            "parent": self.parent.call("GET", "me").status_code,
            "token": self.token.call("GET", "me").status_code,
            "key": Script(self.client, self.key).get("users/", op="whoami").status_code,
            "grandkey": Script(self.client, self.grandkey).get("users/", op="whoami").status_code,
            "bo's session": self.bo.get("/account").status_code,
            "bo's password": self._sign_in().status_code,
        }
        return {name for name, status in found.items() if status == 200}


CHILDREN = {"token", "key", "grandkey", "bo's session", "bo's password"}


@pytest.fixture
def family(app: Flask) -> Family:
    found = Family(app)
    assert found.alive() == CHILDREN | {"parent"}
    return found


def change(app: Flask, run: Callable[[], Any]) -> None:
    with app.app_context():
        run()
        db.session.commit()
        db.session.remove()


def test_a_revoked_token_takes_along_all_that_was_created_with_it(family: Family) -> None:
    assert family.parent.call("DELETE", f"tokens/{family.token_id}").status_code == 204
    assert family.alive() == set()
    with family.app.app_context():
        assert db.session.scalars(select(APIKey.name).where(APIKey.name == "key")).all() == []
        disabled = db.session.scalars(select(Event).where(Event.kind == "user.disabled")).one()
        assert (disabled.subject, disabled.actor) == ("bo", "ada")
        assert db.session.get_one(User, family.bo_id).is_active is False


def test_a_revoked_child_leaves_its_parent(family: Family) -> None:
    assert family.parent.call("DELETE", f"tokens/{family.child_id}").status_code == 204
    assert family.alive() == {"parent"}


def test_children_expire_with_their_parent_also_when_the_clock_steps(app: Flask) -> None:
    family = Family(app, days=1)
    with app.app_context():
        ends = [
            db.session.get_one(APIToken, family.token_id).expires_at,
            db.session.get_one(APIToken, family.child_id).expires_at,
            *db.session.scalars(select(APIKey.expires_at).where(APIKey.user_id == family.owner_id)),
            db.session.get_one(User, family.bo_id).expires_at,
        ]
        assert len(ends) == 5
        assert len(set(ends)) == 1, "none may end later, whatever the clock does in the meantime"
        past = utcnow() - timedelta(seconds=1)
        for kind in (APIToken, APIKey, User):
            ending = kind.expires_at.is_not(None)
            db.session.execute(update(kind).where(ending).values(expires_at=past))
        db.session.commit()
    assert family.alive() == set()


@pytest.mark.parametrize("how", ["disabled", "demoted"])
def test_what_followed_from_a_role_ends_with_it(family: Family, how: str) -> None:
    def end() -> None:
        owner = users.get(family.owner_id)
        if how == "disabled":
            users.set_active(owner, False, actor="test")
            assert family.alive() == set()
            users.set_active(owner, True, actor="test")
        else:
            users.change_role(owner, Role.OPERATOR, actor="test")

    change(family.app, end)
    # The owner's tokens are again what their role allows; what was created with them ended.
    assert family.alive() == {"parent", "token"}
    assert family.parent.call("POST", "users", {**BO, "username": "eve"}).status_code in (201, 403)


def test_a_changed_password_ends_keys_and_tokens_if_asked_to(family: Family) -> None:
    sent = {"current": "wrong", "password": "a quite different passphrase"}
    assert family.parent.call("POST", "me/password", sent).status_code == 422, "it has to be said"
    wrong = family.parent.call("POST", "me/password", sent | {"is_access_revoked": True})
    assert "current" in wrong.json["errors"]
    sent |= {"current": PASSWORD, "is_access_revoked": False}
    assert family.parent.call("POST", "me/password", sent).json == {"revoked": 0}
    assert family.alive() == CHILDREN | {"parent"}
    again = {"current": sent["password"], "password": PASSWORD, "is_access_revoked": True}
    assert family.parent.call("POST", "me/password", again).json == {"revoked": 4}
    assert family.alive() == set()


def test_a_user_of_a_token_manages_no_users_until_a_person_keeps_them(
    family: Family, program: Typed
) -> None:
    assert family.bo.get("/users/").status_code == 403
    form = {"username": "eve", "password": PASSWORD, "role": "administrator"}
    assert family.bo.post("/users/add", form).status_code == 403
    with family.app.app_context():
        _, token = tokens.create(users.get(family.bo_id), "bo's", ALL)
        db.session.remove()
    own = Typed(family.client, token)
    assert own.call("POST", "users", {**BO, "username": "eve"}).status_code == 403
    kept = {"is_kept": True}
    for caller in (family.parent, family.token, program):
        assert caller.call("PATCH", f"users/{family.bo_id}", kept).status_code == 409
    person = Visitor(family.app, Role.ADMINISTRATOR)
    assert "Created with a token" in person.get(f"/users/{family.bo_id}").text
    assert person.post(f"/users/{family.bo_id}/keep").status_code == 303
    assert family.parent.call("DELETE", f"tokens/{family.token_id}").status_code == 204
    assert family.alive() == {"bo's session", "bo's password"}
    assert family.bo.get("/users/").status_code == 200


def test_a_token_raises_and_enables_only_its_own_users(
    app: Flask, family: Family, token_of: Callable[..., Typed]
) -> None:
    with app.app_context():
        other = factories.user("eve", role=Role.VIEWER)
        other.is_active = False
        db.session.commit()
        eve = f"users/{other.id}"
    for body in ({"role": "operator"}, {"is_active": True}, {"role": "administrator"}):
        for caller in (family.parent, family.token, token_of()):
            assert caller.call("PATCH", eve, body).status_code == 409
    assert family.token.get(eve)["is_active"] is False
    bo = f"users/{family.bo_id}"
    assert family.parent.call("PATCH", bo, {"role": "viewer"}).json["role"] == "viewer"
    raised = {"role": "operator"}
    assert family.parent.call("PATCH", bo, raised).status_code == 409, "it's the child's, not its"
    assert family.token.call("PATCH", bo, raised).json["role"] == "operator"


def test_the_last_administrator_is_one_who_ends_with_no_token(app: Flask) -> None:
    family = Family(app)

    def all_but_two() -> None:
        others = User.id.not_in([family.owner_id, family.bo_id])
        db.session.execute(update(User).where(others).values(role=Role.VIEWER))

    change(app, all_but_two)
    body = {"role": "viewer"}
    assert family.parent.call("PATCH", f"users/{family.owner_id}", body).status_code == 409
    assert family.parent.call("PATCH", f"users/{family.bo_id}", body).status_code == 200


# -- races


@pytest.mark.both_databases
def test_whatever_is_created_while_its_parent_is_revoked_ends_too(region: Flask) -> None:
    """Of those that come first nothing is left, those that come late are refused."""
    owner = factories.user("ada", role=Role.ADMINISTRATOR)
    factories.user(role=Role.ADMINISTRATOR)
    row, token = tokens.create(owner, "parent", ALL)
    _, child = tokens.create(owner, "child", ALL, parent=tokens.check(token))
    owner_id, row_id = owner.id, row.id
    barrier, outcomes = threading.Barrier(4), []

    def create(number: int) -> None:
        with region.app_context():
            bearer = tokens.check(token if number % 2 else child)
            barrier.wait(30)
            try:
                users.create_user(f"bo{number}", PASSWORD, Role.ADMINISTRATOR, parent=bearer)
                tokens.create(bearer.user, "x", ["read"], parent=bearer)  # type: ignore[union-attr]
                outcomes.append("created")
            except Conflict:
                outcomes.append("refused")
            finally:
                db.session.remove()

    def revoke() -> None:
        with region.app_context():
            owner = users.get(owner_id)
            barrier.wait(30)
            passwords.hash_password(PASSWORD)  # as long as it takes to create a user
            tokens.revoke(owner, row_id)
            outcomes.append("revoked")
            db.session.remove()

    threads = [threading.Thread(target=create, args=(number,)) for number in range(3)]
    threads.append(threading.Thread(target=revoke))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 4
    db.session.expire_all()
    assert [
        user.username for user in users.list_users() if "bo" in user.username and user.is_active
    ] == []
    assert db.session.scalars(select(APIToken)).all() == []


@pytest.mark.both_databases
@pytest.mark.parametrize("end", ["revoked", "demoted", "disabled"])
def test_a_parent_that_ended_since_it_was_checked_creates_nothing(region: Flask, end: str) -> None:
    owner = factories.user(role=Role.ADMINISTRATOR)
    factories.user(role=Role.ADMINISTRATOR)
    row, token = tokens.create(owner, "parent", ALL)
    bearer = tokens.check(token)
    assert bearer
    if end == "revoked":
        tokens.revoke(owner, row.id)
    elif end == "demoted":
        users.change_role(owner, Role.OPERATOR, actor="test")
    else:
        users.set_active(owner, False, actor="test")
    with pytest.raises(Conflict, match="same moment"):
        users.create_user("bo", PASSWORD, Role.VIEWER, parent=bearer)
    with pytest.raises(Conflict, match="same moment"):
        lineage.hold(bearer)


@pytest.mark.both_databases
def test_a_key_revoked_since_it_was_checked_creates_no_key(region: Flask) -> None:
    owner = factories.user(role=Role.ADMINISTRATOR)
    consumer, token, _ = keys.create_api_key(owner, "parent").split(":")
    key = keys.find(consumer, token)
    assert key
    db.session.expunge(key)  # as another process has it
    keys.revoke_token(owner, token)
    keys.create_api_key(owner, "the next one")  # SQLite gives it the same id
    with pytest.raises(Conflict, match="same moment"):
        keys.create_api_key(owner, "child", parent_key=key)
    assert [key.name for key in keys.of_user(owner.id)] == ["the next one"]


def test_a_token_needs_every_scope_of_the_role_that_it_gives(
    token_of: Callable[..., Typed],
) -> None:
    few = token_of(Role.ADMINISTRATOR, "accounts", "read")
    assert few.call("POST", "keys", {"name": "x"}).status_code == 409
    assert few.call("POST", "users", BO).status_code == 409
    assert few.call("POST", "users", {**BO, "role": "operator"}).status_code == 409
    assert few.call("POST", "users", {**BO, "role": "viewer"}).status_code == 201
    assert few.call("POST", "tokens", {"name": "x", "scopes": [Scope.ADMIN]}).status_code == 409


def test_tokens_for_racks_end_with_the_token_that_may_have_made_them(family: Family) -> None:
    def left() -> set[str]:
        with family.app.app_context():
            return {row.token_hash for row in rack_tokens.all_tokens()}

    with family.app.app_context():
        mirror_keys.ensure()
        early, _ = rack_tokens.create("ada")
        early.created_at = utcnow() - timedelta(hours=1)
        db.session.commit()
        before = left()
    made = family.parent.call("POST", "racks/tokens", {"hours": 24 * 30})
    assert made.status_code == 201
    with family.app.app_context():
        parent = db.session.get_one(APIToken, family.token_id)
        parent.expires_at = utcnow() + timedelta(hours=2)
        rack_tokens.create("bo")
        db.session.commit()
        end = parent.expires_at
    bound = family.parent.call("POST", "racks/tokens", {}).json
    assert bound["expires_at"] == end.isoformat().replace("+00:00", "Z"), "no later than its parent"
    assert len(left()) == 4
    assert family.parent.call("DELETE", f"tokens/{family.token_id}").status_code == 204
    assert left() == before, "also those of users whom the token created"
