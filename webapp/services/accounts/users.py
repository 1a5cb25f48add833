# SPDX-License-Identifier: Apache-2.0
"""Users: the first one, more of them, their roles and passwords.

There is always an active administrator once there was one: whatever would
take the last away is refused by the same statement that would do it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from webapp.errors import Conflict, InvalidFields, NotFound, Problem
from webapp.extensions import db
from webapp.models import Role, Setting, User, utcnow
from webapp.services.accounts import lineage, passwords, rights, sessions
from webapp.services.accounts.lineage import Bearer
from webapp.services.system import events

SETUP_CODE = "setup_code"
SETUP_TIME = timedelta(hours=24)
_NAME = re.compile(r"[a-z0-9][a-z0-9@.+_-]{0,149}")


class SetupProblem(Problem):
    """The one-time setup link is wrong, used or expired."""

    code = "setup-code-invalid"


# -- finding


def has_users() -> bool:
    """Whether the first administrator was made."""
    return bool(db.session.scalar(select(exists(select(User.id)))))


def list_users() -> Sequence[User]:
    """All users by name."""
    return db.session.scalars(select(User).order_by(User.username)).all()


def get(user_id: int) -> User:
    """The user, else NotFound."""
    return _known(db.session.get(User, user_id), f"user {user_id}")


def user_named(name: str) -> User:
    """The user with this name, else NotFound."""
    lowered = name.strip().lower()
    return _known(db.session.scalar(select(User).where(User.username == lowered)), name)


def _known(user: User | None, where: str) -> User:
    if user is None:
        raise NotFound("User not found.", where=where, next_step="See the list of users.")
    return user


# -- making and changing


def create_user(
    name: str, password: str, role: Role, *, actor: str = "", parent: Bearer | None = None
) -> User:
    """Add a user; names are kept in lower case.

    parent: the token that the user is created with, and ends with. Raises InvalidFields, or
    Conflict when the token may do less than the role.
    """
    lineage.demand_no_more(parent, rights.scopes_of(role))
    user = _new_user(name, password, role)
    lineage.hold(parent)
    if parent:
        user.parent_id, user.expires_at = parent.token_id, parent.expires_at
    db.session.add(user)
    events.record("user.added", actor=actor, subject=user.username, role=str(role))
    try:
        db.session.commit()
    except IntegrityError as error:
        db.session.rollback()
        raise _taken() from error
    return user


def _new_user(name: str, password: str, role: Role) -> User:
    name = name.strip().lower()
    wrong: dict[str, list[str]] = {}
    if not _NAME.fullmatch(name):
        wrong["username"] = [
            "Use 1 to 150 letters, digits and @ . + - _, starting with a letter or digit."
        ]
    elif db.session.scalar(select(exists().where(User.username == name))):
        wrong |= _taken().fields
    try:
        passwords.check_choice(password, name)
    except InvalidFields as problem:
        wrong |= problem.fields
    if wrong:
        raise InvalidFields(wrong)
    return User(username=name, password_hash=passwords.hash_password(password), role=role)


def _taken() -> InvalidFields:
    return InvalidFields({"username": ["A user with this name already exists."]})


def set_password(
    user: User,
    password: str,
    *,
    actor: str = "",
    but: int | None = None,
    is_access_revoked: bool = False,
) -> int:
    """Set a password and end the user's sessions, except the one in ``but``.

    is_access_revoked: also their API keys and tokens; returns how many. Raises InvalidFields.
    """
    passwords.check_choice(password, user.username)
    hashed = passwords.hash_password(password)
    ended = lineage.end_all(user, actor=actor) if is_access_revoked else 0
    user.password_hash = hashed
    sessions.end_all_of(user.id, but=but)
    events.record("user.password_set", actor=actor, subject=user.username, revoked=ended)
    db.session.commit()
    return ended


def change_own_password(
    user: User,
    current: str,
    password: str,
    address: str,
    *,
    but: int | None = None,
    is_access_revoked: bool = False,
) -> int:
    """Change one's own password, knowing the current one; all sessions end, except ``but``.

    Otherwise as ``set_password``. Raises InvalidFields or TooManyAttempts.
    """
    if not sessions.check_again(user, current, address=address):
        events.record("user.password_refused", actor=user.username, subject=address)
        db.session.commit()
        raise InvalidFields({"current": ["Wrong current password."]})
    return set_password(
        user, password, actor=user.username, but=but, is_access_revoked=is_access_revoked
    )


def reset_password(
    me: sessions.SignedIn, user: User, password: str, *, is_access_revoked: bool = False
) -> int:
    """Set another user's password, as ``set_password``; one's own needs the current one.

    Raises Conflict or InvalidFields.
    """
    if user.id == me.user_id:
        raise Conflict(
            "You can't reset your own password here.",
            next_step="Change it in your account, with your current password.",
        )
    return set_password(user, password, actor=me.username, is_access_revoked=is_access_revoked)


def change_role(user: User, role: Role, *, actor: str) -> None:
    """Give a user another role; what followed from the old one ends.

    Raises Conflict for the last administrator.
    """
    before = _change(user, {"role": role}, is_loss=role != Role.ADMINISTRATOR)
    if before != role:
        lineage.end_what_followed(user, actor=actor)
    events.record("user.role_changed", actor=actor, subject=user.username, role=str(role))
    db.session.commit()


def set_active(user: User, is_active: bool, *, actor: str) -> None:
    """Let a user in, or keep them out and end their sessions; their keys stop working.

    Raises Conflict for the last administrator.
    """
    _change(user, {"is_active": is_active}, is_loss=not is_active)
    if not is_active:
        sessions.end_all_of(user.id)
        lineage.end_what_followed(user, actor=actor)
    kind = "user.enabled" if is_active else "user.disabled"
    events.record(kind, actor=actor, subject=user.username)
    db.session.commit()


def remove(user: User, *, actor: str) -> None:
    """Delete a user with their sessions, keys and tokens, and end what those created.

    What they did stays under their name. Raises Conflict for one's own account and for the
    last administrator.
    """
    if user.username == actor:
        raise Conflict(
            "You can't delete your own account.",
            where=user.username,
            next_step="Ask another administrator to do it.",
        )
    _change(user, {"is_active": False}, is_loss=True)
    revoked = lineage.end_all(user, actor=actor)
    events.record("user.deleted", actor=actor, subject=user.username, revoked=revoked)
    db.session.delete(user)
    db.session.commit()


def keep(user: User, *, actor: str) -> None:
    """Let a user no longer end with the token that created them."""
    lineage.lock(user)
    user.parent_id, user.expires_at = None, None
    events.record("user.kept", actor=actor, subject=user.username)
    db.session.commit()


def _change(user: User, values: dict[str, Any], *, is_loss: bool) -> str:
    """Change a row unless that would leave no active administrator; returns the role before.

    The administrators' rows are locked first (SQLite has one writer anyway), so
    that two who demote each other at the same moment do not both succeed.
    """
    other = aliased(User)
    administrators = (User.role == Role.ADMINISTRATOR, User.is_active)
    locking = select(User.id).where(*administrators).order_by(User.id).with_for_update()
    db.session.execute(locking).all()
    db.session.refresh(user, with_for_update=True)
    before = user.role
    statement = update(User).where(User.id == user.id)
    if is_loss:
        # One who ends with a token doesn't count: the token may be revoked at any time.
        remains = exists().where(
            other.id != user.id,
            other.role == Role.ADMINISTRATOR,
            other.is_active,
            other.parent_id.is_(None),
        )
        is_none = (User.role != Role.ADMINISTRATOR) | ~User.is_active | User.parent_id.is_not(None)
        statement = statement.where(is_none | remains)
    changed: Any = db.session.execute(
        statement.values(**values).execution_options(synchronize_session=False)
    )
    db.session.refresh(user)
    if changed.rowcount != 1:
        db.session.rollback()
        raise Conflict(
            "This is the last administrator.",
            where=user.username,
            expected="at least one active administrator",
            got="none after this change",
            next_step="Make another user an administrator first.",
        )
    return before


# -- the first administrator


def ensure_setup_code() -> str | None:
    """Make a new one-time code while no user can sign in; None otherwise.

    Only a hash is stored, so every start makes a new code and the old one is void.
    """
    if has_users():
        db.session.execute(delete(Setting).where(Setting.key == SETUP_CODE))
        db.session.commit()
        return None
    code = secrets.token_urlsafe(32)
    value = {"sha256": _hashed(code), "at": utcnow().isoformat()}
    db.session.merge(Setting(key=SETUP_CODE, value=value))
    db.session.commit()
    return code


def is_setup_code(code: str) -> bool:
    """Whether this is the code that makes the first administrator, and not too old."""
    kept = db.session.get(Setting, SETUP_CODE, populate_existing=True)
    if kept is None or not isinstance(kept.value, dict):
        return False
    age = utcnow() - datetime.fromisoformat(kept.value["at"])
    # Printed in the future means before the clock was set back, perhaps long ago.
    is_recent = -SETUP_TIME <= age <= SETUP_TIME
    return is_recent and hmac.compare_digest(str(kept.value["sha256"]), _hashed(code))


def create_first_administrator(code: str, name: str, password: str) -> User:
    """Redeem the code: of many at the same moment one wins, the others get SetupProblem.

    Raises InvalidFields when the name or password cannot be used; the code stays good.
    """
    if not is_setup_code(code):
        raise setup_problem()
    user = _new_user(name, password, Role.ADMINISTRATOR)
    # Deleting the code is the race's finish line: one transaction sees its row go.
    redeemed: Any = db.session.execute(delete(Setting).where(Setting.key == SETUP_CODE))
    if redeemed.rowcount != 1 or has_users():
        db.session.rollback()
        raise setup_problem()
    db.session.add(user)
    events.record("user.added", subject=user.username, role=user.role, is_first=True)
    db.session.commit()
    return user


def setup_problem() -> SetupProblem:
    """The problem for a user whose link doesn't work."""
    return SetupProblem(
        "This setup link is no longer valid.",
        expected="the link that Slipway printed at its last start, within 24 hours",
        got="an old, used or altered link",
        next_step="Restart Slipway, which prints a new link, "
        "or run `slipway user create NAME` on the server.",
    )


def _hashed(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
