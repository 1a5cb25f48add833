# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens of ``/api/v1`` with scopes; of a token only its SHA-256 is stored."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import contains_eager

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import APIToken, User, utcnow
from webapp.services.accounts import credentials, lineage, rights
from webapp.services.accounts.lineage import Bearer
from webapp.services.accounts.rights import Scope
from webapp.services.system import events

PREFIX = "slp_"  # lets scanners for leaked secrets know one
_HINT = len(PREFIX) + 6
MAX_DAYS = 3650
DEFAULT_DAYS = 90  # where people don't choose; a token that never ends is one they ask for

log = structlog.get_logger(__name__)


def create(
    user: User,
    name: str,
    scopes: Collection[str],
    *,
    days: int | None = None,
    parent: Bearer | None = None,
) -> tuple[APIToken, str]:
    """Create a token and return it in full, this one time.

    days: until it expires. parent: the token that it's created with, whose scopes and end
    are its limits. Raises InvalidFields or Conflict.
    """
    lineage.demand_no_more(parent, rights.known(scopes))
    name = name.strip()
    wrong: dict[str, list[str]] = {}
    if errors := credentials.name_errors(APIToken, user, name):
        wrong["name"] = errors
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        wrong["scopes"] = [
            f"Choose from {', '.join(Scope)}, not {', '.join(unknown) or 'nothing'}."
        ]
    if days is not None and not 1 <= days <= MAX_DAYS:
        wrong["days"] = [f"Enter 1 to {MAX_DAYS} days."]
    if wrong:
        raise InvalidFields(wrong)
    token = PREFIX + secrets.token_urlsafe(32)
    end = None if days is None else utcnow() + timedelta(days=days)
    lineage.hold(parent)
    row = APIToken(
        user_id=user.id,
        name=name,
        token_hash=credentials.digest(token),
        hint=token[:_HINT],
        scopes=sorted(set(scopes)),
        expires_at=lineage.earliest(end, parent.expires_at if parent else None),
        parent_id=parent.token_id if parent else None,
    )
    db.session.add(row)
    events.record("api_token.added", actor=user.username, subject=name, scopes=row.scopes)
    db.session.commit()
    return row, token


def check(token: str) -> Bearer | None:
    """Whose token this is and what for; None unless both it and its user are good."""
    if not token.startswith(PREFIX) or len(token) > 200 or not token.isascii():
        return None
    now = utcnow()
    row = db.session.scalar(
        select(APIToken)
        .join(APIToken.user)
        .options(contains_eager(APIToken.user))
        .where(APIToken.token_hash == credentials.digest(token))
        .where(User.is_active, lineage.live(User, now), lineage.live(APIToken, now))
    )
    if row is None:
        return None
    credentials.note(row)
    user = row.user
    end = lineage.earliest(row.expires_at, user.expires_at)
    return Bearer(user, user.role, rights.known(row.scopes), row.id, row.token_hash, end)


def of_user(user_id: int) -> Sequence[APIToken]:
    """The tokens of a user, newest first."""
    return credentials.of_user(APIToken, user_id)


def revoke(user: User, token_id: int) -> None:
    """Delete one of a user's own tokens; raises NotFound for anyone else's."""
    credentials.revoke(APIToken, user, token_id)
