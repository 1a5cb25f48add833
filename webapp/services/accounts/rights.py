# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the one table that pages, REST 2.0 and ``/api/v1`` decide by."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from webapp.errors import Problem
from webapp.models import Role

_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMINISTRATOR: 2}


class Scope(enum.StrEnum):
    """What a token may do, at most what its user's role may."""

    READ = "read"
    IMPORT = "import"
    SELECT = "select"
    UPLOAD = "upload"
    ADMIN = "admin"
    ACCOUNTS = "accounts"


class Right(enum.Enum):
    """Something that people and programs may do: from which role on, and with which scope.

    A page or an API key needs the role; a token needs the scope as well.
    """

    SEE = (Role.VIEWER, Scope.READ)
    OWN_ACCESS = (Role.VIEWER, Scope.ACCOUNTS)  # one's own password, keys and tokens
    IMPORT = (Role.OPERATOR, Scope.IMPORT)
    SELECT = (Role.OPERATOR, Scope.SELECT)
    UPLOAD = (Role.ADMINISTRATOR, Scope.UPLOAD)
    MANAGE = (Role.ADMINISTRATOR, Scope.ADMIN)
    USERS = (Role.ADMINISTRATOR, Scope.ACCOUNTS)

    @property
    def role(self) -> Role:
        """The least role."""
        return self.value[0]

    @property
    def scope(self) -> Scope:
        """The scope that a token needs."""
        return self.value[1]


def covers(role: str, needed: Role) -> bool:
    """Whether a role may do what another one is needed for."""
    return _RANK[Role(role)] >= _RANK[needed]


def may(role: str, right: Right) -> bool:
    """Whether this role has a right."""
    return covers(role, right.role)


def demand_independent(right: Right, is_dependent: bool) -> None:
    """Raise Problem for a user who ends with a token and wants to manage users.

    Whoever they create or let in would outlive that token.
    """
    if right is Right.USERS and is_dependent:
        raise Problem(
            "A user who was created with a token can't manage users.",
            code="forbidden",
            next_step="Ask an administrator to keep this user.",
        )


def scopes_of(role: str) -> frozenset[Scope]:
    """Every scope that has a use with this role: all of them together are the whole role."""
    return frozenset(right.scope for right in Right if may(role, right))


def known(scopes: Iterable[str]) -> frozenset[Scope]:
    """The scopes among these texts."""
    return frozenset(Scope(scope) for scope in scopes if scope in set(Scope))
