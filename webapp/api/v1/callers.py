# SPDX-License-Identifier: Apache-2.0
"""Who calls ``/api/v1``: the owner of a bearer token, or the command line on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Request

from webapp.errors import NotFound, Problem
from webapp.models import Role, User
from webapp.services.accounts import rights, tokens, two_factor
from webapp.services.accounts.lineage import Bearer
from webapp.services.accounts.rights import Right, Scope

# No HTTP header can become this key: headers arrive as HTTP_….
LOCAL = "slipway.local"
LOCAL_NAME = "command line"
_MAX_HEADER = 4096


class Unauthorised(Problem):
    """No token, or one that isn't valid."""

    code = "token-invalid"


class Forbidden(Problem):
    """The token or its user isn't allowed to do this."""

    code = "forbidden"


@dataclass(frozen=True)
class Caller:
    """Who calls. bearer is None for the command line on this machine, which has no limits."""

    name: str
    role: str
    scopes: frozenset[Scope]
    bearer: Bearer | None

    @property
    def sees(self) -> Role:
        """The role whose view of things the caller gets: both token and user must allow it."""
        for right in (Right.MANAGE, Right.IMPORT):
            if right.scope in self.scopes and rights.may(self.role, right):
                return right.role
        return Role.VIEWER

    @property
    def user_id(self) -> int | None:
        """The user; None for the command line on this machine."""
        return self.bearer.user.id if self.bearer else None

    @property
    def account(self) -> User:
        """The user; raises NotFound for the command line, which has no account."""
        if self.bearer is None:
            raise NotFound(
                "The command line on this machine has no account.",
                next_step="Name a user, e.g. `slipway token create NAME`.",
            )
        return self.bearer.user


def identify(request: Request) -> Caller:
    """The caller. Raises Unauthorised. Cookies aren't used here."""
    if request.environ.get(LOCAL) is True:
        return Caller(LOCAL_NAME, Role.ADMINISTRATOR, frozenset(Scope), None)
    header = request.headers.get("Authorization", "")
    kind, _, token = header.partition(" ")
    if not header or kind.lower() != "bearer" or len(header) > _MAX_HEADER:
        raise Unauthorised(
            "A bearer token is required.",
            where="the Authorization header",
            expected="Bearer slp_…",
            got=kind[:20] or "none",
            next_step="Create one on your account page or with `slipway token create NAME`.",
        )
    found = tokens.check(token.strip())
    if found is None:
        raise Unauthorised(
            "This token isn't valid.",
            where="the Authorization header",
            next_step="It was revoked or has expired, or its user was disabled. Create a new one.",
        )
    return Caller(found.user.username, found.role, found.scopes, found)


def demand(caller: Caller, right: Right) -> None:
    """Raise Forbidden unless both the token and its user allow it."""
    if right.scope not in caller.scopes:
        raise Forbidden(
            f"This token doesn't have the scope {right.scope}.",
            expected=right.scope,
            got=" ".join(sorted(caller.scopes)),
            next_step="Create a token with that scope.",
        )
    if not rights.may(caller.role, right):
        raise Forbidden(
            "Your role doesn't allow this.",
            expected=right.role,
            got=caller.role,
            next_step="Ask an administrator.",
        )
    if caller.bearer:
        rights.demand_independent(right, caller.bearer.user.parent_id is not None)


def demand_code(caller: Caller, request: Request) -> None:
    """Ask for a code where the caller has a second factor. Raises CodeRequired."""
    if caller.bearer:
        code = request.headers.get(two_factor.CODE_HEADER, "")
        two_factor.demand_code(caller.account, code, address=request.remote_addr or "")
