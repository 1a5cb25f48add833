# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens of ``/api/v1`` with scopes; of a token only its SHA-256 is stored."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import APIToken, User, utcnow
from webapp.services.accounts import credentials, rights
from webapp.services.accounts.rights import Scope
from webapp.services.system import events

PREFIX = "slp_"  # lets scanners for leaked secrets know one
_HINT = len(PREFIX) + 6
MAX_DAYS = 3650

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Bearer:
    """Whose token it is, and what for."""

    user: User
    scopes: frozenset[Scope]
    expires_at: datetime | None = None


def create(
    user: User,
    name: str,
    scopes: Collection[str],
    *,
    days: int | None = None,
    latest: datetime | None = None,
) -> tuple[APIToken, str]:
    """Create a token and return it in full, this one time.

    days: until it expires. latest: the last moment it may expire, since the token
    that creates it expires then. Raises InvalidFields.
    """
    name = name.strip()
    wrong: dict[str, list[str]] = {}
    if errors := credentials.name_errors(APIToken, user, name):
        wrong["name"] = errors
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        wrong["scopes"] = [
            f"Choose from {', '.join(Scope)}; not {', '.join(unknown) or 'nothing'}."
        ]
    if days is not None and not 1 <= days <= MAX_DAYS:
        wrong["days"] = [f"Enter 1 to {MAX_DAYS} days."]
    if wrong:
        raise InvalidFields(wrong)
    token = PREFIX + secrets.token_urlsafe(32)
    end = None if days is None else utcnow() + timedelta(days=days)
    ends = [moment for moment in (end, latest) if moment is not None]
    row = APIToken(
        user_id=user.id,
        name=name,
        token_hash=credentials.digest(token),
        hint=token[:_HINT],
        scopes=sorted(set(scopes)),
        expires_at=min(ends, default=None),
    )
    db.session.add(row)
    events.record("api_token.added", actor=user.username, subject=name, scopes=row.scopes)
    db.session.commit()
    return row, token


def check(token: str) -> Bearer | None:
    """The active user whose token this is, or None."""
    if not token.startswith(PREFIX) or len(token) > 200 or not token.isascii():
        return None
    now = utcnow()
    found = db.session.execute(
        select(APIToken, User).join(User).where(APIToken.token_hash == credentials.digest(token))
    ).one_or_none()
    if found is None or not found[1].is_active or _is_over(found[0], now):
        return None
    row, user = found
    credentials.note(row)
    return Bearer(user, rights.known(row.scopes), row.expires_at)


def of_user(user_id: int) -> Sequence[APIToken]:
    """The tokens of a user, newest first."""
    return credentials.of_user(APIToken, user_id)


def revoke(user: User, token_id: int) -> None:
    """Delete one of a user's own tokens; raises NotFound for anyone else's."""
    credentials.revoke(APIToken, user, token_id)


def _is_over(row: APIToken, now: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= now
