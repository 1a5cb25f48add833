# SPDX-License-Identifier: Apache-2.0
"""``/me``, ``/tokens``, ``/keys`` and ``/users``: accounts and what they may do."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel
from webapp.errors import Conflict
from webapp.models import APIKey, APIToken, Role, User
from webapp.services.accounts import keys, rights, tokens, users
from webapp.services.accounts.rights import Right

routes = Routes("accounts")
ONE = "/users/<int:id>"


class MeResponse(ResponseModel):
    """The caller and the scopes of their token."""

    username: str
    role: str
    scopes: list[str]


class TokenRequest(RequestModel):
    """A new token. days: until it expires; never when left out."""

    name: str = Field(max_length=100)
    scopes: list[str] = Field(["read"], min_length=1, max_length=10)
    days: int | None = Field(None, ge=1, le=tokens.MAX_DAYS)


class TokenResponse(ResponseModel):
    """A bearer token; ``hint`` are its first characters."""

    id: int
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class NewTokenResponse(TokenResponse):
    """A new token, shown in full this one time."""

    token: str


class KeyRequest(RequestModel):
    """A new key for the MAAS API."""

    name: str = Field(max_length=100)


class KeyResponse(ResponseModel):
    """A key for the MAAS API; only its consumer part is shown."""

    id: int
    name: str
    consumer_key: str
    created_at: datetime
    used_at: datetime | None


class NewKeyResponse(ResponseModel):
    """A new key, shown in full this one time: consumer:token:secret."""

    key: str


class UserRequest(RequestModel):
    """A new user."""

    username: str = Field(max_length=150)
    password: str = Field(max_length=1000)
    role: Role = Role.VIEWER


class UserChangeRequest(RequestModel):
    """Changes to a user; fields left out keep their value."""

    role: Role | None = None
    is_active: bool | None = None


class UserResponse(ResponseModel):
    """A user."""

    id: int
    username: str
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


@routes("GET", "/me", Right.SEE)
def read_me(call: PlainCall) -> MeResponse:
    """Show whose token this is and what it allows."""
    caller = call.caller
    return MeResponse(username=caller.name, role=caller.role, scopes=sorted(caller.scopes))


@routes("GET", "/tokens", Right.SEE)
def read_tokens(call: PlainCall) -> Page[TokenResponse]:
    """List your own tokens."""
    rows = tokens.of_user(call.caller.account.id)
    return Page[TokenResponse](items=[TokenResponse.model_validate(row) for row in rows])


@routes("POST", "/tokens", Right.OWN_ACCESS, status=201)
def create_token(call: Call[Empty, TokenRequest]) -> NewTokenResponse:
    """Create a token for yourself, with no more scopes than the calling one and no later end."""
    _demand_own(call, call.body.scopes)
    row, token = tokens.create(
        call.caller.account,
        call.body.name,
        call.body.scopes,
        days=call.body.days,
        latest=call.caller.expires_at,
    )
    return _new_token(row, token)


@routes("DELETE", "/tokens/<int:id>", Right.OWN_ACCESS)
def revoke_token(call: PlainCall, id: int) -> None:
    """Revoke one of your own tokens."""
    tokens.revoke(call.caller.account, id)


@routes("GET", "/keys", Right.OWN_ACCESS)
def read_keys(call: PlainCall) -> Page[KeyResponse]:
    """List your own keys for the MAAS API."""
    rows = keys.of_user(call.caller.account.id)
    return Page[KeyResponse](items=[_key(row) for row in rows])


@routes("POST", "/keys", Right.OWN_ACCESS, status=201)
def create_key(call: Call[Empty, KeyRequest]) -> NewKeyResponse:
    """Create a key for the MAAS API; it may do all that you may and doesn't expire."""
    if call.caller.expires_at is not None:
        raise Conflict(
            "A token that expires can't create a key that doesn't.",
            next_step="Create the key on your account page.",
        )
    return NewKeyResponse(key=keys.create_api_key(call.caller.account, call.body.name))


@routes("DELETE", "/keys/<int:id>", Right.OWN_ACCESS)
def revoke_key(call: PlainCall, id: int) -> None:
    """Revoke one of your own keys."""
    keys.revoke_api_key(call.caller.account, id)


@routes("GET", "/users", Right.MANAGE)
def read_users(call: PlainCall) -> Page[UserResponse]:
    """List the users."""
    return Page[UserResponse](items=[_user(row) for row in users.list_users()])


@routes("POST", "/users", Right.USERS, status=201)
def create_user(call: Call[Empty, UserRequest]) -> UserResponse:
    """Create a user."""
    sent = call.body
    return _user(users.create_user(sent.username, sent.password, sent.role, actor=call.actor))


@routes("GET", ONE, Right.MANAGE)
def read_user(call: PlainCall, id: int) -> UserResponse:
    """Read a user."""
    return _user(users.get(id))


@routes("PATCH", ONE, Right.USERS, state=read_user)
def change_user(call: Call[Empty, UserChangeRequest], id: int) -> UserResponse:
    """Change a user's role, or disable or enable them; the last administrator stays."""
    user, sent = users.get(id), call.body
    if sent.role is not None:
        users.change_role(user, sent.role, actor=call.actor)
    if sent.is_active is not None:
        users.set_active(user, sent.is_active, actor=call.actor)
    return _user(user)


def _demand_own(call: Call[Empty, TokenRequest], scopes: list[str]) -> None:
    more = sorted(rights.known(scopes) - call.caller.scopes)
    if more:
        raise Conflict("A token can't create one with more scopes.", got=" ".join(more))


def _new_token(row: APIToken, token: str) -> NewTokenResponse:
    return NewTokenResponse(**TokenResponse.model_validate(row).model_dump(), token=token)


def _key(row: APIKey) -> KeyResponse:
    return KeyResponse.model_validate(row)


def _user(row: User) -> UserResponse:
    return UserResponse.model_validate(row)
