# SPDX-License-Identifier: Apache-2.0
"""API keys ``consumer:token:secret``; of the secret only its SHA-256 is stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Sequence

import structlog
from sqlalchemy import select

from webapp.errors import InvalidFields, NotFound
from webapp.extensions import db
from webapp.models import APIKey, User
from webapp.services.accounts import last_use
from webapp.services.system import events

_LETTERS = string.ascii_letters + string.digits
_SECRET_LENGTH = 43  # 62^43 is more than 2^256
MAX_KEYS = 50
KEPT_LOGINS = 10

log = structlog.get_logger(__name__)


def create_api_key(user: User, name: str) -> str:
    """Make a key for a user and return it whole, this one time.

    Raises InvalidFields when the name is too long or the user has too many keys.
    """
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InvalidFields({"name": ["Enter a name of 1 to 100 characters."]})
    if len(of_user(user.id)) >= MAX_KEYS:
        raise InvalidFields({"name": [f"You can have at most {MAX_KEYS} keys. Revoke one first."]})
    consumer, token = _random(18), _random(18)
    secret = _random(_SECRET_LENGTH)
    key = APIKey(
        user_id=user.id,
        name=name,
        consumer_key=consumer,
        token_key=token,
        secret_hash=_hashed(secret),
    )
    db.session.add(key)
    events.record("api_key.added", actor=user.username, subject=name)
    db.session.commit()
    return f"{consumer}:{token}:{secret}"


def create_login_key(user: User, program: str) -> str:
    """Make a key for a program that signs in with a password, as scripts do at every start.

    The newest KEPT_LOGINS of that program stay, so that those running beside it
    go on and the keys do not pile up.
    """
    name = "".join(char for char in program if char.isprintable())[:100].strip() or "a program"
    for old in [key for key in of_user(user.id) if key.name == name][KEPT_LOGINS - 1 :]:
        db.session.delete(old)
    return create_api_key(user, name)


def revoke_token(user: User, token: str) -> None:
    """Delete the key of a user that has this token; raises NotFound for anybody else's."""
    known = {key.token_key: key.id for key in of_user(user.id)}
    revoke_api_key(user, known.get(token, 0))


def check_api_key(consumer: str, token: str, secret: str) -> User | None:
    """The active user whose key this is, or None; an unknown key takes as long."""
    found = None
    if consumer.isalnum() and token.isalnum():  # ours are; PostgreSQL takes no NUL
        found = db.session.execute(
            select(APIKey, User)
            .join(User)
            .where(APIKey.consumer_key == consumer, APIKey.token_key == token)
        ).one_or_none()
    kept = found[0].secret_hash if found else _hashed("")
    is_right = hmac.compare_digest(kept, _hashed(secret))
    if found is None or not is_right or not found[1].is_active:
        return None
    key, user = found
    last_use.note(key)
    return user


def of_user(user_id: int) -> Sequence[APIKey]:
    """The keys of a user, the newest first."""
    return db.session.scalars(
        select(APIKey).where(APIKey.user_id == user_id).order_by(APIKey.id.desc())
    ).all()


def revoke_api_key(user: User, key_id: int) -> None:
    """Delete one of a user's own keys; raises NotFound for anybody else's."""
    key = db.session.get(APIKey, key_id)
    if key is None or key.user_id != user.id:
        raise NotFound(
            "API key not found.",
            where=f"API key {key_id}",
            next_step="It may have been revoked already. See the list.",
        )
    db.session.delete(key)
    events.record("api_key.revoked", actor=user.username, subject=key.name)
    db.session.commit()


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
