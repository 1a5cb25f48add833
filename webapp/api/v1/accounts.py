# SPDX-License-Identifier: Apache-2.0
"""``/me``, ``/tokens``, ``/keys`` and ``/users``: accounts and what they may do."""

from __future__ import annotations

from datetime import datetime

from flask import request
from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel
from webapp.errors import Conflict
from webapp.models import APIKey, APIToken, Role, User
from webapp.services.accounts import keys, lineage, rights, tokens, users
from webapp.services.accounts.rights import Right

routes = Routes("accounts")
ONE = "/users/<int:id>"


class MeResponse(ResponseModel):
    """The caller and the scopes of their token."""

    username: str
    role: str
    scopes: list[str]


class TokenRequest(RequestModel):
    """A new token. days: until it expires; 90 when left out, null for a token without end."""

    name: str = Field(max_length=100)
    scopes: list[str] = Field(["read"], min_length=1, max_length=10)
    days: int | None = Field(tokens.DEFAULT_DAYS, ge=1, le=tokens.MAX_DAYS)


class TokenResponse(ResponseModel):
    """A bearer token; ``hint`` are its first characters.

    parent_id: of the token that created it, with which it ends.
    """

    id: int
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    parent_id: int | None


class NewTokenResponse(TokenResponse):
    """A new token, shown in full this one time."""

    token: str


class KeyRequest(RequestModel):
    """A new key for the MAAS API."""

    name: str = Field(max_length=100)


class KeyResponse(ResponseModel):
    """A key for the MAAS API; only its consumer part is shown.

    parent_token_id, parent_key_id: what created it, with which it ends.
    """

    id: int
    name: str
    consumer_key: str
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    parent_token_id: int | None
    parent_key_id: int | None


class NewKeyResponse(ResponseModel):
    """A new key, shown in full this one time: consumer:token:secret."""

    key: str


class PasswordRequest(RequestModel):
    """A new password. is_access_revoked: also revoke all your API keys and tokens."""

    current: str = Field(max_length=1000)
    password: str = Field(max_length=1000)
    is_access_revoked: bool


class PasswordResponse(ResponseModel):
    """How many API keys and tokens were revoked."""

    revoked: int


class UserRequest(RequestModel):
    """A new user."""

    username: str = Field(max_length=150)
    password: str = Field(max_length=1000)
    role: Role = Role.VIEWER


class UserChangeRequest(RequestModel):
    """Changes to a user; fields left out keep their value.

    is_kept: true to let a user no longer end with the token that created them, which no token
    may do.
    """

    role: Role | None = None
    is_active: bool | None = None
    is_kept: bool | None = None


class UserResponse(ResponseModel):
    """A user. parent_id: of the token that created them, with which they end."""

    id: int
    username: str
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None
    expires_at: datetime | None
    parent_id: int | None


@routes("GET", "/me", Right.SEE)
def read_me(call: PlainCall) -> MeResponse:
    """Show whose token this is and what it allows."""
    caller = call.caller
    return MeResponse(username=caller.name, role=caller.role, scopes=sorted(caller.scopes))


@routes("POST", "/me/password", Right.OWN_ACCESS, needs_code=True)
def change_password(call: Call[Empty, PasswordRequest]) -> PasswordResponse:
    """Change your own password, with the current one; all your sessions end."""
    sent = call.body
    revoked = users.change_own_password(
        call.caller.account,
        sent.current,
        sent.password,
        request.remote_addr or "",
        is_access_revoked=sent.is_access_revoked,
    )
    return PasswordResponse(revoked=revoked)


@routes("GET", "/tokens", Right.SEE)
def read_tokens(call: PlainCall) -> Page[TokenResponse]:
    """List your own tokens."""
    rows = tokens.of_user(call.caller.account.id)
    return Page[TokenResponse](items=[TokenResponse.model_validate(row) for row in rows])


@routes("POST", "/tokens", Right.OWN_ACCESS, status=201, needs_code=True)
def create_token(call: Call[Empty, TokenRequest]) -> NewTokenResponse:
    """Create a token for yourself; it may no more than the calling one, and ends with it."""
    row, token = tokens.create(
        call.caller.account,
        call.body.name,
        call.body.scopes,
        days=call.body.days,
        parent=call.caller.bearer,
    )
    return _new_token(row, token)


@routes("DELETE", "/tokens/<int:id>", Right.OWN_ACCESS)
def revoke_token(call: PlainCall, id: int) -> None:
    """Revoke one of your own tokens, and all that was created with it."""
    tokens.revoke(call.caller.account, id)


@routes("GET", "/keys", Right.OWN_ACCESS)
def read_keys(call: PlainCall) -> Page[KeyResponse]:
    """List your own keys for the MAAS API."""
    rows = keys.of_user(call.caller.account.id)
    return Page[KeyResponse](items=[_key(row) for row in rows])


@routes("POST", "/keys", Right.OWN_ACCESS, status=201, needs_code=True)
def create_key(call: Call[Empty, KeyRequest]) -> NewKeyResponse:
    """Create a key for the MAAS API; it ends with the calling token.

    A key may do all that you may, so the token needs every scope of your role.
    """
    caller = call.caller
    key = keys.create_api_key(caller.account, call.body.name, parent=caller.bearer)
    return NewKeyResponse(key=key)


@routes("DELETE", "/keys/<int:id>", Right.OWN_ACCESS)
def revoke_key(call: PlainCall, id: int) -> None:
    """Revoke one of your own keys, and all that was created with it."""
    keys.revoke_api_key(call.caller.account, id)


@routes("GET", "/users", Right.MANAGE)
def read_users(call: PlainCall) -> Page[UserResponse]:
    """List the users."""
    return Page[UserResponse](items=[_user(row) for row in users.list_users()])


@routes("POST", "/users", Right.USERS, status=201, needs_code=True)
def create_user(call: Call[Empty, UserRequest]) -> UserResponse:
    """Create a user; with a token, one who ends with it.

    The token needs every scope of the user's role. Keep the user on the Users page, or with
    `slipway user change NAME --keep` on the server.
    """
    sent, parent = call.body, call.caller.bearer
    return _user(
        users.create_user(sent.username, sent.password, sent.role, actor=call.actor, parent=parent)
    )


@routes("GET", ONE, Right.MANAGE)
def read_user(call: PlainCall, id: int) -> UserResponse:
    """Read a user."""
    return _user(users.get(id))


@routes("PATCH", ONE, Right.USERS, state=read_user, needs_code=True)
def change_user(call: Call[Empty, UserChangeRequest], id: int) -> UserResponse:
    """Change a user's role, or disable or enable them; the last administrator stays.

    A token can raise the role of, or enable, only users that it created.
    """
    user, sent = users.get(id), call.body
    _demand_no_gain(call, user)
    if sent.is_kept:
        users.keep(user, actor=call.actor)
    if sent.role is not None:
        users.change_role(user, sent.role, actor=call.actor)
    if sent.is_active is not None:
        users.set_active(user, sent.is_active, actor=call.actor)
    return _user(user)


@routes("DELETE", ONE, Right.USERS, needs_code=True)
def delete_user(call: PlainCall, id: int) -> None:
    """Delete a user with their sessions, keys and tokens; the last administrator stays."""
    users.remove(users.get(id), actor=call.actor)


def _demand_no_gain(call: Call[Empty, UserChangeRequest], user: User) -> None:
    sent, bearer = call.body, call.caller.bearer
    if bearer is None:
        return
    if sent.is_kept:
        raise Conflict(
            "A token can't keep a user.",
            next_step="Use the Users page, or `slipway user change NAME --keep` on the server.",
        )
    role = sent.role or Role(user.role)
    is_more = not rights.covers(user.role, role)
    if is_more or (sent.is_active and not user.is_active):
        lineage.demand_own_child(bearer, user, role)


def _new_token(row: APIToken, token: str) -> NewTokenResponse:
    return NewTokenResponse(**TokenResponse.model_validate(row).model_dump(), token=token)


def _key(row: APIKey) -> KeyResponse:
    return KeyResponse.model_validate(row)


def _user(row: User) -> UserResponse:
    return UserResponse.model_validate(row)
