# SPDX-License-Identifier: Apache-2.0
"""No call lets anyone create, or become, someone who may more or lasts longer than they do.

Every endpoint of both APIs and every page is called by every role and scope, asking for as
much as its fields can hold; afterwards every identity is compared with what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.clients import Script
from tests.api.v1.typed import ALL, Typed
from tests.support import factories
from tests.web import routes
from tests.web.visitors import PASSWORD, Visitor
from webapp.api.v1.dispatch import API, Endpoint
from webapp.api.v1.table import ENDPOINTS
from webapp.api.v2.table import RESOURCES
from webapp.extensions import db
from webapp.models import APIKey, APIToken, Role, User
from webapp.services.accounts import keys, rights, tokens
from webapp.services.accounts.rights import Right, Scope

NEVER = datetime.max.replace(tzinfo=UTC)
# What every field that could give power is filled with, by its name.
GREEDY: dict[str, Any] = {
    "name": "greedy",
    "username": "greedy",
    "password": PASSWORD,
    "current": PASSWORD,
    "role": "administrator",
    "scopes": list(ALL),
    "days": 3650,
    "is_active": True,
    "is_kept": True,
    "is_access_revoked": False,
    "is_superuser": True,
}
FORM = {**GREEDY, "again": PASSWORD, "is_active": "yes", "days": "3650"}


@dataclass(frozen=True)
class Identity:
    """Something that gets in. power: the rights it has; ends: at latest."""

    power: frozenset[Right]
    ends: datetime
    secret: str  # what it gets in with
    parent: tuple[str, int] | None


World = dict[tuple[str, int], Identity]


def world(app: Flask) -> World:
    """Every identity that gets in now."""
    with app.app_context():
        people = {user.id: user for user in db.session.scalars(select(User)) if user.is_active}
        found: World = {}
        for user in people.values():
            parent = ("token", user.parent_id) if user.parent_id else None
            secret = f"{user.password_hash} {user.totp_secret}"
            ends = user.expires_at or NEVER
            found["user", user.id] = Identity(_rights(user, rights.Scope), ends, secret, parent)
        for token in db.session.scalars(select(APIToken)):
            if token.user_id in people:
                user = people[token.user_id]
                ends = min(token.expires_at or NEVER, user.expires_at or NEVER)
                parent = ("token", token.parent_id) if token.parent_id else ("user", user.id)
                power = _rights(user, rights.known(token.scopes))
                found["token", token.id] = Identity(power, ends, token.token_hash, parent)
        for key in db.session.scalars(select(APIKey)):
            if key.user_id in people:
                user = people[key.user_id]
                ends = min(key.expires_at or NEVER, user.expires_at or NEVER)
                parent = ("user", user.id)
                if key.parent_token_id:
                    parent = ("token", key.parent_token_id)
                if key.parent_key_id:
                    parent = ("key", key.parent_key_id)
                power = _rights(user, rights.Scope)
                found["key", key.id] = Identity(power, ends, key.secret_hash, parent)
        db.session.remove()
    return found


def _rights(user: User, scopes: Any) -> frozenset[Right]:
    return frozenset(
        right
        for right in Right
        if right.scope in scopes
        and rights.may(user.role, right)
        and not (right is Right.USERS and user.parent_id)
    )


@contextmanager
def nothing_is_gained(app: Flask, caller: tuple[str, int], call: str) -> Iterator[None]:
    """Compare all identities before and after a call of this one."""
    before = world(app)
    yield
    mine = before[caller]
    for key, now in world(app).items():
        was = before.get(key)
        if was is None:
            assert now.parent == caller, f"{call}: {key} doesn't end with its creator {caller}"
            assert now.power <= mine.power, f"{call}: {key} may more than {caller}"
            assert now.ends <= mine.ends, f"{call}: {key} outlives {caller}"
        elif now != was:
            assert now.power <= was.power, f"{call}: {key} may more than before"
            assert now.ends <= was.ends, f"{call}: {key} lasts longer than before"
            assert (now.secret, now.parent) == (was.secret, was.parent), f"{call}: {key} changed"


def targets(app: Flask) -> list[int]:
    """Users whom it would pay to change: to raise, to take over, to let in again."""
    with app.app_context():
        found = [
            factories.user(role=Role.VIEWER).id,
            factories.user(role=Role.ADMINISTRATOR).id,
            factories.user(role=Role.ADMINISTRATOR, is_active=False).id,
        ]
        db.session.remove()
    return found


def bodies(endpoint: Endpoint) -> list[dict[str, Any] | None]:
    """The most that an endpoint can be asked for: all at once, and field by field."""
    if endpoint.body is None:
        return [None]
    known = {name: value for name, value in GREEDY.items() if name in endpoint.body.model_fields}
    needed = {
        name: value
        for name, value in known.items()
        if endpoint.body.model_fields[name].is_required()
    }
    return [known, *({**needed, name: value} for name, value in known.items())]


VARIANTS = [*[(scope,) for scope in Scope], (Scope.ACCOUNTS, Scope.READ), ALL]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("days", [None, 1], ids=["unlimited", "expiring"])
def test_no_token_gains_by_any_call(app: Flask, role: Role, days: int | None) -> None:
    known = targets(app)
    calls = [
        (endpoint, path, body)
        for endpoint in ENDPOINTS
        if endpoint.method != "GET"
        for path in _paths(endpoint, known)
        for body in bodies(endpoint)
    ]
    assert {call[0].path for call in calls} >= {"/tokens", "/keys", "/users", "/users/<int:id>"}
    client = app.test_client()
    for scopes in VARIANTS if days is None else [ALL]:
        with app.app_context():
            user = factories.user(role=role)
            row, token = tokens.create(user, "caller", scopes, days=days)
            caller = ("token", row.id)
            db.session.remove()
        program = Typed(client, token)
        for endpoint, path, body in calls:
            if rights.may(role, endpoint.right) and endpoint.right.scope in scopes:
                with nothing_is_gained(app, caller, f"{endpoint.name} {scopes} {body}"):
                    program.call(endpoint.method, path, body)
            else:
                assert program.call(endpoint.method, path, body).status_code == 403


def _paths(endpoint: Endpoint, known: list[int]) -> list[str]:
    path = API + endpoint.path.replace("<string:version>", "20240821")
    path = path.replace("<int:selection_id>", "1")
    ids = known if endpoint.path.startswith("/users/") else [9999]
    return list(dict.fromkeys(path.replace("<int:id>", str(id)) for id in ids))


@pytest.mark.parametrize("role", list(Role))
def test_no_key_gains_by_any_action(app: Flask, role: Role) -> None:
    targets(app)
    with app.app_context():
        text = keys.create_api_key(factories.user(role=role), "caller")
        caller = ("key", db.session.scalars(select(APIKey.id).order_by(APIKey.id.desc())).first())
        db.session.remove()
    script = Script(app.test_client(), text)
    greedy = {name: value for name, value in FORM.items() if isinstance(value, str)}
    for resource in RESOURCES:
        path = resource.path.format(**dict.fromkeys(resource.params, 1))
        for action in resource.actions:
            with nothing_is_gained(app, caller, f"{resource.name} {action.name}"):  # type: ignore[arg-type]
                script.call(action.method, path, action.op, dict(greedy))


@pytest.mark.parametrize("who", ["viewer", "operator", "child of a token"])
def test_nobody_gains_by_any_page(app: Flask, who: str) -> None:
    """Administrators may manage users on pages; everyone else gets keys and tokens of their own."""
    known = targets(app)
    is_child = who == "child of a token"
    visitor = Visitor(app, Role.ADMINISTRATOR if is_child else Role(who))
    with app.app_context():
        if is_child:
            row, _ = tokens.create(db.session.get_one(User, known[1]), "parent", ALL, days=1)
            user = db.session.get_one(User, visitor.user_id)
            user.parent_id, user.expires_at = row.id, row.expires_at
            db.session.commit()
        db.session.remove()
    caller = ("user", visitor.user_id)
    token = visitor.token()
    for route in routes.unsafe_pages(app):
        if route.endpoint in ("accounts.sign_out", "accounts.end_session"):
            continue
        for id in known if route.path.startswith("/users/") else [1]:
            path = route.path.replace("/1/", f"/{id}/")
            with nothing_is_gained(app, caller, str(route)):
                visitor.client.open(path, method=route.method, data={**FORM, "csrf_token": token})
    assert visitor.is_signed_in()
