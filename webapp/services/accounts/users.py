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
from webapp.services.accounts import passwords, sessions
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


def create_user(name: str, password: str, role: Role, *, actor: str = "") -> User:
    """Add a user; names are kept in lower case. Raises InvalidFields."""
    user = _new_user(name, password, role)
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


def set_password(user: User, password: str, *, actor: str = "", but: int | None = None) -> None:
    """Set a password and end the user's sessions, except the one in ``but``.

    Raises InvalidFields.
    """
    passwords.check_choice(password, user.username)
    user.password_hash = passwords.hash_password(password)
    sessions.end_all_of(user.id, but=but)
    events.record("user.password_set", actor=actor, subject=user.username)
    db.session.commit()


def change_own_password(me: sessions.SignedIn, current: str, password: str, address: str) -> None:
    """Change one's own password, knowing the current one; all other sessions end.

    Raises InvalidFields or TooManyAttempts.
    """
    user = get(me.user_id)
    if not sessions.check_again(user, current, address=address):
        events.record("user.password_refused", actor=me.username, subject=address)
        db.session.commit()
        raise InvalidFields({"current": ["Wrong current password."]})
    set_password(user, password, actor=me.username, but=me.session_id)


def reset_password(me: sessions.SignedIn, user: User, password: str) -> None:
    """Set another user's password; one's own needs the current one.

    Raises Conflict or InvalidFields.
    """
    if user.id == me.user_id:
        raise Conflict(
            "You can't reset your own password here.",
            next_step="Change it in your account, with your current password.",
        )
    set_password(user, password, actor=me.username)


def change_role(user: User, role: Role, *, actor: str) -> None:
    """Give a user another role; raises Conflict for the last administrator."""
    _change(user, {"role": role}, is_loss=role != Role.ADMINISTRATOR)
    events.record("user.role_changed", actor=actor, subject=user.username, role=str(role))
    db.session.commit()


def set_active(user: User, is_active: bool, *, actor: str) -> None:
    """Let a user in, or keep them out and end their sessions; their keys stop working.

    Raises Conflict for the last administrator.
    """
    _change(user, {"is_active": is_active}, is_loss=not is_active)
    if not is_active:
        sessions.end_all_of(user.id)
    kind = "user.enabled" if is_active else "user.disabled"
    events.record(kind, actor=actor, subject=user.username)
    db.session.commit()


def _change(user: User, values: dict[str, Any], *, is_loss: bool) -> None:
    """Change a row unless that would leave no active administrator.

    The administrators' rows are locked first (SQLite has one writer anyway), so
    that two who demote each other at the same moment do not both succeed.
    """
    other = aliased(User)
    administrators = (User.role == Role.ADMINISTRATOR, User.is_active)
    db.session.execute(select(User.id).where(*administrators).with_for_update()).all()
    statement = update(User).where(User.id == user.id)
    if is_loss:
        remains = exists().where(
            other.id != user.id, other.role == Role.ADMINISTRATOR, other.is_active
        )
        is_none = (User.role != Role.ADMINISTRATOR) | ~User.is_active
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
