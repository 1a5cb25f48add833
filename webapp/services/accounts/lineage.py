# SPDX-License-Identifier: Apache-2.0
"""What is created with a token may no more, lasts no longer and ends with it.

Tokens and keys go with their parent by the database's own cascade. A user who was
created with a token is disabled, which a person can undo; until a person keeps them,
they can't manage users, so no chain leads from a token to someone who outlives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update

from webapp.errors import Conflict
from webapp.extensions import db
from webapp.models import APIKey, APIToken, LoginSession, RackToken, User, utcnow
from webapp.services.accounts import rights
from webapp.services.accounts.rights import Scope
from webapp.services.system import events, statements


@dataclass(frozen=True)
class Bearer:
    """Whose token it is, what for and until when. role: the user's when it was checked.

    digest: the token's, since SQLite may give the id of a deleted row to another one.
    """

    user: User
    role: str
    scopes: frozenset[Scope]
    token_id: int
    digest: str = field(repr=False)
    expires_at: datetime | None = None


def live(kind: type[User | APIKey | APIToken], now: datetime) -> ColumnElement[bool]:
    """Whether a row hasn't expired, as a condition."""
    return or_(kind.expires_at.is_(None), kind.expires_at > now)


def is_live(user: User) -> bool:
    """Whether a user may sign in and use keys and tokens."""
    return user.is_active and (user.expires_at is None or user.expires_at > utcnow())


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of these ends; None for never."""
    return min((moment for moment in moments if moment is not None), default=None)


# -- creating


def demand_no_more(parent: Bearer | None, scopes: Iterable[Scope]) -> None:
    """Raise Conflict for a child that would be allowed more than its parent."""
    more = sorted(set(scopes) - parent.scopes) if parent else []
    if more:
        raise Conflict(
            "A token can't create anything that may do more than itself.",
            expected=" ".join(sorted(parent.scopes)) if parent else "",
            got=f"{' '.join(more)} as well",
            next_step="Use a token with these scopes, or your account page.",
        )


def hold(parent: Bearer | None) -> None:
    """Lock a parent until the commit; raises Conflict when it has ended or changed meanwhile.

    Its user's row is locked first, as by everything that ends a parent. An UPDATE
    comes first, since that's what SQLite locks by.
    """
    if parent is None:
        return
    now = utcnow()
    owner = (User.id == parent.user.id, User.is_active, User.role == parent.role, live(User, now))
    token = (
        APIToken.id == parent.token_id,
        APIToken.token_hash == parent.digest,
        live(APIToken, now),
    )
    if not _lock(User, *owner) or not _lock(APIToken, *token):
        _refuse_late()


def hold_key(key: APIKey | None) -> None:
    """Lock a key until the commit; raises Conflict when it was revoked meanwhile."""
    if key is not None and not _lock(
        APIKey, APIKey.id == key.id, APIKey.token_key == key.token_key
    ):
        _refuse_late()


def _refuse_late() -> NoReturn:
    db.session.rollback()
    raise Conflict(
        "What you signed in with was revoked, or your role changed, at the same moment.",
        next_step="Nothing was created. Check your role, and sign in with a valid key or token.",
    )


def lock(user: User) -> None:
    """Lock a user and what follows from their tokens until the commit."""
    _lock(User, User.id == user.id)
    db.session.refresh(user)


def _lock(kind: type[User | APIKey | APIToken], *which: Any) -> bool:
    """Lock the row that meets these conditions; False when there's none."""
    statement = update(kind).where(*which).values(id=kind.id)
    locked: Any = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(locked.rowcount) == 1


def demand_own_child(parent: Bearer | None, user: User, role: str) -> None:
    """Raise Conflict when a token would give a user more who isn't its own child.

    Whoever is made stronger, or let in again, would outlive the token otherwise.
    """
    if parent is None:
        return
    hold(parent)
    lock(user)
    if user.parent_id != parent.token_id:
        raise Conflict(
            "A token can raise the role of, or enable, only users that it created itself.",
            where=user.username,
            next_step="Use the Users page, or `slipway user change` on the server.",
        )
    demand_no_more(parent, rights.scopes_of(role))


# -- ending


def end_token(user: User, token_id: int, *, actor: str) -> None:
    """Delete a token with all that was created with it; the caller commits.

    Tokens that enrol racks don't know what made them: those of its time go as well.
    """
    lock(user)
    began = db.session.scalar(select(APIToken.created_at).where(APIToken.id == token_id))
    if began is not None:
        _end_rack_tokens([user.username], since=began)
    tree = select(APIToken.id).where(APIToken.id == token_id).cte(recursive=True)
    tree = tree.union(select(APIToken.id).join(tree, APIToken.parent_id == tree.c.id))
    _disable_children(select(tree.c.id), actor)
    db.session.execute(delete(APIToken).where(APIToken.id == token_id))


def end_all(user: User, *, actor: str) -> int:
    """Delete every key and token of a user with all that was created with them.

    Also those that would still enrol racks; racks that they enrolled stay.
    Returns how many; the caller commits.
    """
    lock(user)
    _disable_children(_tokens_of(user), actor)
    own = APIKey.user_id == user.id, APIToken.user_id == user.id
    counted = [select(func.count()).where(which).scalar_subquery() for which in own]
    count = int(db.session.scalar(select(counted[0] + counted[1])) or 0)
    db.session.execute(delete(APIKey).where(own[0]))
    db.session.execute(delete(APIToken).where(own[1]))
    return count + _end_rack_tokens([user.username])


def end_what_followed(user: User, *, actor: str) -> None:
    """End what a user's tokens created, since their role changed; the caller commits.

    Their other tokens stay: a token may at most what its user may now.
    """
    lock(user)
    _disable_children(_tokens_of(user), actor)
    by_token = (APIKey.user_id == user.id, APIKey.parent_token_id.is_not(None))
    db.session.execute(delete(APIKey).where(*by_token))
    _end_rack_tokens([user.username])


def _end_rack_tokens(users: Sequence[str], since: datetime | None = None) -> int:
    """End what would still enrol racks; how many."""
    which: list[ColumnElement[bool]] = [RackToken.created_by.in_(users)]
    which += [] if since is None else [RackToken.created_at >= since]
    return statements.count(delete(RackToken).where(*which))


def _tokens_of(user: User) -> Select[int]:
    return select(APIToken.id).where(APIToken.user_id == user.id)


def _disable_children(tokens: Select[int], actor: str) -> None:
    """Disable the users whom these tokens created, and end their sessions."""
    children = db.session.scalars(
        select(User)
        .where(User.parent_id.in_(tokens))
        .order_by(User.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for child in children:
        child.is_active, child.parent_id, child.expires_at = False, None, None
        events.record("user.disabled", actor=actor, subject=child.username, because="parent ended")
    ids = [child.id for child in children]
    if ids:
        db.session.execute(delete(LoginSession).where(LoginSession.user_id.in_(ids)))
        _end_rack_tokens([child.username for child in children])
        db.session.flush()
