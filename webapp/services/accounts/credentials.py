# SPDX-License-Identifier: Apache-2.0
"""What API keys and bearer tokens share: names, limits, lists, their last use, revoking."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

import structlog
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import APIKey, APIToken, User, utcnow
from webapp.numbers import counted
from webapp.services.accounts import lineage
from webapp.services.system import events

MAX_EACH = 50  # keys, and as many tokens
USED_EVERY = timedelta(minutes=10)
_NOUNS = {APIKey: "key", APIToken: "token"}

Credential = TypeVar("Credential", APIKey, APIToken)

log = structlog.get_logger(__name__)


def name_errors(kind: type[Credential], user: User, name: str) -> list[str]:
    """Why a user can't create another one with this name; [] if they can."""
    noun = _NOUNS[kind]
    if not name or len(name) > 100 or not name.isprintable():
        return ["Enter a name of 1 to 100 characters."]
    if len(of_user(kind, user.id)) >= MAX_EACH:
        return [f"You can have at most {MAX_EACH} {noun}s. Revoke one first."]
    return []


def of_user(kind: type[Credential], user_id: int) -> Sequence[Credential]:
    """The keys or tokens of a user, newest first."""
    mine = select(kind).where(kind.user_id == user_id)
    return db.session.scalars(mine.order_by(kind.id.desc())).all()


def in_words(user_id: int) -> str:
    """How many keys and tokens a user has, e.g. "2 API keys and 1 API token"; "" for none."""
    counts = db.session.execute(
        select(
            *(
                select(func.count()).where(kind.user_id == user_id).scalar_subquery()
                for kind in (APIKey, APIToken)
            )
        )
    ).one()
    return " and ".join(
        counted(count, f"API {noun}")
        for noun, count in zip(_NOUNS.values(), counts, strict=True)
        if count
    )


def revoke(kind: type[Credential], user: User, row_id: int) -> None:
    """Delete one of a user's own and all that was created with it.

    Raises NotFound for anyone else's.
    """
    row: Credential | None = db.session.get(kind, row_id)
    noun = _NOUNS[kind]
    if row is None or row.user_id != user.id:
        raise NotFound(
            f"API {noun} not found.",
            where=f"API {noun} {row_id}",
            next_step="It may have been revoked already. See the list.",
        )
    events.record(f"{kind.__tablename__}.revoked", actor=user.username, subject=row.name)
    if isinstance(row, APIToken):
        lineage.end_token(user, row.id, actor=user.username)
    else:
        db.session.execute(delete(APIKey).where(APIKey.id == row.id))
    db.session.commit()


def digest(secret: str) -> str:
    """The SHA-256 that's stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def note(row: APIKey | APIToken) -> None:
    """Note the use of a key or token, at most once in USED_EVERY; commits.

    Never fails: scripts may still read when nothing can be written.
    """
    now = utcnow()
    if row.used_at is not None and now - row.used_at <= USED_EVERY:
        return
    kind = type(row)
    is_old = or_(kind.used_at.is_(None), kind.used_at < now - USED_EVERY)
    try:
        db.session.execute(update(kind).where(kind.id == row.id, is_old).values(used_at=now))
        db.session.commit()
    except SQLAlchemyError as error:
        db.session.rollback()
        log.warning("a use was not noted", of=kind.__tablename__, error=type(error).__name__)
