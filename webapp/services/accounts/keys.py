# SPDX-License-Identifier: Apache-2.0
"""API keys ``consumer:token:secret``: create, check, revoke (rule: rest-keys).

The secret is stored as its SHA-256, which PLAINTEXT needs, and encrypted, since an
HMAC can't be checked without it.
"""

from __future__ import annotations

import hmac
import secrets
import string
from collections.abc import Sequence

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import contains_eager

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import APIKey, APINonce, User, utcnow
from webapp.services.accounts import credentials, lineage, rights
from webapp.services.accounts.lineage import Bearer
from webapp.services.system import events
from webapp.services.system import secrets as vault

_LETTERS = string.ascii_letters + string.digits
_SECRET_LENGTH = 43  # 62^43 is more than 2^256
KEPT_LOGINS = 10
MAX_SKEW_S = 300  # between the clocks of client and server, as in MAAS
KEPT_S = 86_400  # of what a clock may have been ahead
KEPT_NONCES_S = 86_400

log = structlog.get_logger(__name__)


def create_api_key(
    user: User, name: str, *, parent: Bearer | None = None, parent_key: APIKey | None = None
) -> str:
    """Make a key for a user and return it whole, this one time.

    parent, parent_key: what it's created with, and ends with. Raises InvalidFields when the
    name is too long or the user has too many keys, Conflict when the parent may do less.
    """
    lineage.demand_no_more(parent, rights.scopes_of(user.role))
    name = name.strip()
    if errors := credentials.name_errors(APIKey, user, name):
        raise InvalidFields({"name": errors})
    consumer, token = _random(18), _random(18)
    secret = _random(_SECRET_LENGTH)
    lineage.hold(parent)
    lineage.hold_key(parent_key)
    key = APIKey(
        user_id=user.id,
        name=name,
        consumer_key=consumer,
        token_key=token,
        secret_hash=credentials.digest(secret),
        secret_sealed=vault.seal(secret),
        parent_token_id=parent.token_id if parent else None,
        parent_key_id=parent_key.id if parent_key else None,
        expires_at=lineage.earliest(
            parent.expires_at if parent else None, parent_key.expires_at if parent_key else None
        ),
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
    """Delete the key of a user that has this token; raises NotFound for another user's."""
    known = {key.token_key: key.id for key in of_user(user.id)}
    revoke_api_key(user, known.get(token, 0))


def check_api_key(consumer: str, token: str, secret: str) -> APIKey | None:
    """The key of an active user, or None; an unknown key takes as long."""
    found = find(consumer, token)
    kept = found.secret_hash if found else credentials.digest("")
    is_right = hmac.compare_digest(kept, credentials.digest(secret))
    if found is None or not is_right:
        return None
    if not found.secret_sealed:
        _seal(found, secret)
    credentials.note(found)
    return found


def find(consumer: str, token: str) -> APIKey | None:
    """A key of an active user, neither of them expired, without checking the secret."""
    if not consumer.isalnum() or not token.isalnum():  # ours are; PostgreSQL takes no NUL
        return None
    now = utcnow()
    return db.session.scalar(
        select(APIKey)
        .join(User)
        .options(contains_eager(APIKey.user))
        .where(APIKey.consumer_key == consumer, APIKey.token_key == token)
        .where(User.is_active, lineage.live(User, now), lineage.live(APIKey, now))
    )


def spend(key: APIKey, timestamp: int, nonce: str) -> bool:
    """Note the use of a signature; False if it was used before. Commits.

    Nonces are kept for much longer than their timestamp is accepted, so that a clock that
    was ahead for a while and is set back doesn't make an old request new again.
    """
    oldest = int(utcnow().timestamp()) - KEPT_NONCES_S
    db.session.execute(delete(APINonce).where(APINonce.timestamp < oldest))
    db.session.add(APINonce(key_id=key.id, timestamp=timestamp, nonce=nonce))
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        return False
    credentials.note(key)
    return True


def of_user(user_id: int) -> Sequence[APIKey]:
    """The keys of a user, newest first."""
    return credentials.of_user(APIKey, user_id)


def revoke_api_key(user: User, key_id: int) -> None:
    """Delete one of a user's own keys; raises NotFound for anyone else's."""
    credentials.revoke(APIKey, user, key_id)


def _seal(key: APIKey, secret: str) -> None:
    """Keep the secret of an older key, now that it's known. Never fails, as ``note``."""
    try:
        key.secret_sealed = vault.seal(secret)
        db.session.commit()
    except SQLAlchemyError as error:
        db.session.rollback()
        log.warning("could not store a sealed secret", error=type(error).__name__)


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
