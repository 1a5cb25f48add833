# SPDX-License-Identifier: Apache-2.0
"""Signing in and out: sessions live here on the server, a cookie only names one.

A token has 256 random bits; only its SHA-256 is stored. A session ends after
30 minutes without a person's doing, and after 12 hours in any case (ASVS 5.0, 7.3).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import LoginSession, Role, User, utcnow
from webapp.services.accounts import lineage, passwords, throttle
from webapp.services.system import events

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=1)
MAX_EACH = 50  # sessions of a user; one more ends the one that was quiet for longest
CONFIRMED = timedelta(minutes=5)  # how long a password that was entered again counts

# At most 8 + 10 guesses in ten minutes for one account from one address; the
# second bucket stops one address from trying one password on every account.
ACCOUNT_BUCKET = throttle.Bucket("account", capacity=8, refill_s=60)
ADDRESS_BUCKET = throttle.Bucket("address", capacity=40, refill_s=10)
# Guesses from many addresses share this one: 20 at once, then 12 an hour. Networks the
# account has signed in from are exempt, so that an attacker can't lock its owner out there.
EVERYWHERE_BUCKET = throttle.Bucket("everywhere", capacity=20, refill_s=300)

log = structlog.get_logger(__name__)


class SignInProblem(Problem):
    """Wrong user name or password; never reveals which of them."""

    code = "sign-in-refused"


class TooManyAttempts(Problem):
    """This address has guessed too often; nothing was checked."""

    code = "too-many-attempts"


@dataclass(frozen=True)
class SignedIn:
    """Who a session belongs to, with what Flask-Login asks of a user."""

    session_id: int
    user_id: int
    username: str
    role: Role
    token: str
    is_dependent: bool = False  # ends with the token that created them
    is_confirmed: bool = False  # entered the password a moment ago

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def get_id(self) -> str:
        """What the cookie keeps."""
        return self.token


def authenticate(username: str, password: str, *, address: str) -> User:
    """The active user whom a guess is right for; the caller commits.

    A second factor, where there is one, is the caller's to ask for (services.two_factor).
    An unknown name costs as much time as a wrong password. Raises SignInProblem
    or TooManyAttempts.
    """
    name = username.strip().lower()
    account_key = f"{name}\0{throttle.network(address)}"
    _spend(name, address)
    # PostgreSQL refuses NUL in a text, and no name holds anything unprintable.
    user = db.session.scalar(select(User).where(User.username == name)) if _is_name(name) else None
    if not passwords.verify(password, user.password_hash if user else None) or not (
        user and lineage.is_live(user)
    ):
        # An unknown name may be a password typed into the wrong field: not kept.
        events.record("user.sign_in_refused", actor=user.username if user else "", subject=address)
        db.session.commit()
        raise SignInProblem(
            "Incorrect user name or password.",
            next_step="Check both. If you forgot the password, ask an administrator for a new one.",
        )
    if passwords.needs_rehash(user.password_hash):
        user.password_hash = passwords.hash_password(password)
    throttle.forget(ACCOUNT_BUCKET, account_key)
    return user


def check_again(user: User, password: str, *, address: str) -> bool:
    """Whether a signed-in person knows their own password; throttled like a sign-in."""
    key = f"{user.username}\0{throttle.network(address)}"
    _spend(user.username, address)
    if not passwords.verify(password, user.password_hash):
        return False
    throttle.forget(ACCOUNT_BUCKET, key)
    return True


def _spend(name: str, address: str) -> None:
    network = throttle.network(address)
    account_key = f"{name}\0{network}"
    if (
        throttle.allow(ADDRESS_BUCKET, network)
        and throttle.allow(ACCOUNT_BUCKET, account_key)
        and (throttle.is_known(account_key) or throttle.allow(EVERYWHERE_BUCKET, name))
    ):
        return
    log.warning("sign-in throttled", address=address)
    raise TooManyAttempts(
        "Too many attempts from this address.",
        next_step="Wait a minute, then try again, or sign in from another address.",
    )


def open_session(user: User, *, address: str, user_agent: str) -> SignedIn:
    """Open a session with a new token and clear away what has ended. Commits."""
    now = utcnow()
    token = secrets.token_urlsafe(32)
    session = LoginSession(
        token_hash=_hashed(token),
        user_id=user.id,
        address=address[:45],
        user_agent=_printable(user_agent)[:300],
        created_at=now,
        seen_at=now,
        confirmed_at=now,
    )
    db.session.execute(delete(LoginSession).where(_has_ended(now)))
    _make_room_for(user)
    throttle.sweep()
    throttle.remember(f"{user.username}\0{throttle.network(address)}")
    db.session.add(session)
    user.last_login_at = now
    events.record("user.signed_in", actor=user.username, subject=address)
    db.session.commit()
    return SignedIn(session.id, user.id, user.username, Role(user.role), token)


def _make_room_for(user: User) -> None:
    quiet = (
        select(LoginSession.id)
        .where(LoginSession.user_id == user.id)
        .order_by(LoginSession.seen_at.desc(), LoginSession.id.desc())
        .offset(MAX_EACH - 1)
    )
    db.session.execute(delete(LoginSession).where(LoginSession.id.in_(quiet)))


def find(token: str, *, is_person: bool = True) -> SignedIn | None:
    """The live session with this token; one query.

    is_person: whether the user did something; a page that polls
    again and again does not keep a session alive.
    """
    now = utcnow()
    row = db.session.execute(
        select(
            LoginSession.id,
            LoginSession.seen_at,
            LoginSession.confirmed_at,
            User.id,
            User.username,
            User.role,
            User.parent_id,
        )
        .join(User)
        .where(LoginSession.token_hash == _hashed(token), ~_has_ended(now))
        .where(User.is_active, lineage.live(User, now))
    ).one_or_none()
    if row is None:
        return None
    session_id, seen_at, confirmed_at, user_id, username, role, parent_id = row
    if is_person and now - seen_at > SEEN_EVERY:
        _mark_seen(session_id, now)
    # One from the future was confirmed before the clock was set back, perhaps long ago.
    is_confirmed = confirmed_at is not None and timedelta() <= now - confirmed_at <= CONFIRMED
    is_dependent = parent_id is not None
    return SignedIn(session_id, user_id, username, Role(role), token, is_dependent, is_confirmed)


def confirm(me: SignedIn) -> None:
    """Note that a person has just entered their password (and code); the caller commits."""
    db.session.execute(
        update(LoginSession).where(LoginSession.id == me.session_id).values(confirmed_at=utcnow())
    )


def _mark_seen(session_id: int, now: datetime) -> None:
    try:
        db.session.execute(
            update(LoginSession).where(LoginSession.id == session_id).values(seen_at=now)
        )
        db.session.commit()
    except SQLAlchemyError as error:
        # A full disk must not keep users from the pages that report it.
        db.session.rollback()
        log.warning("session not marked as seen", error=type(error).__name__)


def of_user(user_id: int) -> Sequence[LoginSession]:
    """The live sessions of a user, the latest first."""
    return db.session.scalars(
        select(LoginSession)
        .where(LoginSession.user_id == user_id, ~_has_ended(utcnow()))
        .order_by(LoginSession.seen_at.desc(), LoginSession.id.desc())
    ).all()


def end(me: SignedIn, session_id: int) -> bool:
    """End one of one's own sessions; False when it had ended."""
    kind = "user.signed_out" if session_id == me.session_id else "session.ended"
    return _end(me, LoginSession.id == session_id, kind) == 1


def end_others(me: SignedIn) -> int:
    """End all of one's own sessions but this one; returns how many."""
    return _end(me, LoginSession.id != me.session_id, "session.ended")


def end_all_of(user_id: int, *, but: int | None = None) -> None:
    """End every session of a user, except one; the caller commits."""
    db.session.execute(
        delete(LoginSession).where(LoginSession.user_id == user_id, LoginSession.id != (but or 0))
    )


def _end(me: SignedIn, which: Any, kind: str) -> int:
    ended: Any = db.session.execute(
        delete(LoginSession).where(LoginSession.user_id == me.user_id, which)
    )
    count = int(ended.rowcount)
    if count:
        events.record(kind, actor=me.username, count=count)
    db.session.commit()
    return count


def _has_ended(now: datetime) -> Any:
    return or_(LoginSession.seen_at < now - IDLE, LoginSession.created_at < now - LONGEST)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_name(name: str) -> bool:
    return name.isprintable() and len(name) <= 150


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
