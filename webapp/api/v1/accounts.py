# SPDX-License-Identifier: Apache-2.0
"""``/me``, ``/tokens``, ``/keys`` and ``/users``: who may do what."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.schemas import Given, Page, Told
from webapp.errors import Conflict
from webapp.models import APIKey, APIToken, Role, User
from webapp.services.accounts import keys, tokens, users
from webapp.services.accounts.tokens import Scope

TAG = "people"
ONE = "/users/<int:id>"


class Me(Told):
    """Who calls, and what the token allows."""

    username: str
    role: str
    scopes: list[str]


class TokenGiven(Given):
    """A new token. days: until it ends by itself; never when left out."""

    name: str = Field(max_length=100)
    scopes: list[str] = Field(["read"], min_length=1, max_length=10)
    days: int | None = Field(None, ge=1, le=tokens.MAX_DAYS)


class TokenTold(Told):
    """A bearer token; ``hint`` are its first characters."""

    id: int
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class NewToken(TokenTold):
    """A token that was just made, whole, this one time."""

    token: str


class KeyGiven(Given):
    """A new key for the MAAS API."""

    name: str = Field(max_length=100)


class KeyTold(Told):
    """A key for the MAAS API; of it only the consumer part is shown."""

    id: int
    name: str
    consumer_key: str
    created_at: datetime
    used_at: datetime | None


class NewKey(Told):
    """A key that was just made, whole, this one time: consumer:token:secret."""

    key: str


class UserGiven(Given):
    """A new user."""

    username: str = Field(max_length=150)
    password: str = Field(max_length=1000)
    role: Role = Role.VIEWER


class UserChange(Given):
    """What to change about a user."""

    role: Role | None = None
    is_active: bool | None = None


class UserTold(Told):
    """Somebody who may sign in."""

    id: int
    username: str
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


def read_me(call: Call) -> Me:
    """Tell whose token this is and what it allows."""
    caller = call.caller
    return Me(username=caller.name, role=caller.role, scopes=sorted(caller.scopes))


def read_tokens(call: Call) -> Page[TokenTold]:
    """List your own tokens."""
    rows = tokens.of_user(call.caller.account.id)
    return Page[TokenTold](items=[TokenTold.model_validate(row) for row in rows])


def create_token(call: Call) -> NewToken:
    """Make a token of your own. It can have no scope that the calling one lacks, nor outlive it."""
    _demand_own(call, call.body.scopes)
    row, token = tokens.create(
        call.caller.account,
        call.body.name,
        call.body.scopes,
        days=call.body.days,
        latest=call.caller.expires_at,
    )
    return _new(row, token)


def revoke_token(call: Call, id: int) -> None:
    """Revoke one of your own tokens."""
    tokens.revoke(call.caller.account, id)


def read_keys(call: Call) -> Page[KeyTold]:
    """List your own keys for the MAAS API."""
    rows = keys.of_user(call.caller.account.id)
    return Page[KeyTold](items=[_key(row) for row in rows])


def create_key(call: Call) -> NewKey:
    """Make a key for the MAAS API; it may do all that you may, and does not end by itself."""
    if call.caller.expires_at is not None:
        raise Conflict(
            "A token that ends cannot make a key that does not.",
            next_step="Make the key on your account's page.",
        )
    return NewKey(key=keys.create_api_key(call.caller.account, call.body.name))


def revoke_key(call: Call, id: int) -> None:
    """Revoke one of your own keys."""
    keys.revoke_api_key(call.caller.account, id)


def read_users(call: Call) -> Page[UserTold]:
    """List the users."""
    return Page[UserTold](items=[_user(row) for row in users.list_users()])


def create_user(call: Call) -> UserTold:
    """Make a user."""
    given: UserGiven = call.body
    return _user(users.create_user(given.username, given.password, given.role, actor=call.actor))


def read_user(call: Call, id: int) -> UserTold:
    """Read a user."""
    return _user(users.get(id))


def change_user(call: Call, id: int) -> UserTold:
    """Change a user's role, or keep them out; never the last administrator's."""
    user, given = users.get(id), call.body
    if given.role is not None:
        users.change_role(user, given.role, actor=call.actor)
    if given.is_active is not None:
        users.set_active(user, given.is_active, actor=call.actor)
    return _user(user)


def _demand_own(call: Call, scopes: list[str]) -> None:
    more = sorted(set(scopes) & set(Scope) - {str(scope) for scope in call.caller.scopes})
    if more:
        raise Conflict("A token cannot make one that may do more than itself.", got=" ".join(more))


def _new(row: APIToken, token: str) -> NewToken:
    return NewToken(**TokenTold.model_validate(row).model_dump(), token=token)


def _key(row: APIKey) -> KeyTold:
    return KeyTold.model_validate(row)


def _user(row: User) -> UserTold:
    return UserTold.model_validate(row)


ENDPOINTS = (
    Endpoint("GET", "/me", read_me, Scope.READ, TAG, answer=Me),
    Endpoint("GET", "/tokens", read_tokens, Scope.READ, TAG, answer=Page[TokenTold]),
    Endpoint(
        "POST",
        "/tokens",
        create_token,
        Scope.READ,
        TAG,
        body=TokenGiven,
        answer=NewToken,
        status=201,
    ),
    Endpoint("DELETE", "/tokens/<int:id>", revoke_token, Scope.READ, TAG),
    Endpoint("GET", "/keys", read_keys, Scope.ADMIN, TAG, answer=Page[KeyTold]),
    Endpoint(
        "POST", "/keys", create_key, Scope.ADMIN, TAG, body=KeyGiven, answer=NewKey, status=201
    ),
    Endpoint("DELETE", "/keys/<int:id>", revoke_key, Scope.ADMIN, TAG),
    Endpoint("GET", "/users", read_users, Scope.ADMIN, TAG, answer=Page[UserTold]),
    Endpoint(
        "POST", "/users", create_user, Scope.ADMIN, TAG, body=UserGiven, answer=UserTold, status=201
    ),
    Endpoint("GET", ONE, read_user, Scope.ADMIN, TAG, answer=UserTold),
    Endpoint(
        "PATCH",
        ONE,
        change_user,
        Scope.ADMIN,
        TAG,
        body=UserChange,
        answer=UserTold,
        state=read_user,
    ),
)
