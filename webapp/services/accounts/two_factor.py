# SPDX-License-Identifier: Apache-2.0
"""A second factor at sign-in: codes of an authenticator app (RFC 6238) and recovery codes.

Every code is accepted once (ASVS 5.0, 6.5.1): the time step of the last one is kept,
and a recovery code goes with its use.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from secrets import token_bytes

import pyotp
import structlog
from sqlalchemy import update

from webapp import numbers
from webapp.errors import Conflict, InvalidFields, Problem
from webapp.extensions import db
from webapp.models import User, utcnow
from webapp.services.accounts import lineage, sessions, throttle, users
from webapp.services.accounts.sessions import SignedIn, SignInProblem, TooManyAttempts
from webapp.services.system import events, secrets

ISSUER = "Slipway"
PENDING_S = 300  # from the right password to the code
RECOVERY_CODES = 10
# 120 random bits: from 112 on a plain hash is enough (ASVS 5.0, 6.5.2).
_RECOVERY_BYTES = 15

# Counted for the account, whatever the address: only a person who knows the password
# gets here, and many addresses must not guess a code of six digits together.
CODE_BUCKET = throttle.Bucket("second factor", capacity=8, refill_s=60)

CODE_HEADER = "Slipway-Code"
_WRONG = "That code is invalid, expired or already used."

log = structlog.get_logger(__name__)


class CodeRequired(Problem):
    """A program must send a code of the second factor, or sent a wrong one."""

    code = "code-required"


def is_on(user: User) -> bool:
    """Whether this user is asked for a code at sign-in."""
    return bool(user.totp_secret)


def new_key() -> str:
    """Make a key for an authenticator app: 160 random bits in base32."""
    return pyotp.random_base32()


def key_address(key: str, username: str) -> str:
    """The ``otpauth://`` address of a key, which a QR code carries."""
    return pyotp.TOTP(key).provisioning_uri(name=username, issuer_name=ISSUER)


def accepted_step(key: str, code: str, now: datetime, last_step: int) -> int | None:
    """The time step whose code this is: the present one or a neighbour, after last_step.

    A last step that hasn't come yet is from before the clock was set back. It doesn't
    count: the owner would be kept out until then.
    """
    totp, code = pyotp.TOTP(key), _plain(code)
    if numbers.whole(code) is None:
        return None
    present = totp.timecode(now)
    last_step = last_step if last_step <= present + 1 else 0
    for step in (present, present - 1, present + 1):
        if step > last_step and hmac.compare_digest(totp.generate_otp(step), code):
            return step
    return None


# -- at sign-in


def pend(user: User) -> str:
    """Seal who gave the right password, for their own browser to keep. Commits."""
    token = secrets.seal(json.dumps([user.id, _state(user)]))
    db.session.commit()
    return token


def pending_user(token: str) -> User | None:
    """Whose code is awaited; None when it took too long or the account changed meanwhile."""
    try:
        text = secrets.unseal(token, max_age_s=PENDING_S)
    except secrets.SecretProblem:
        return None
    if not text:
        return None
    user_id, state = json.loads(text)
    user = db.session.get(User, user_id)
    if user is None or not lineage.is_live(user) or not is_on(user) or state != _state(user):
        return None
    return user


def check(user: User, code: str, *, address: str) -> None:
    """Accept a present code or an unused recovery code; the caller commits.

    Raises SignInProblem or TooManyAttempts.
    """
    if not _is_accepted(user.id, code, address):
        raise SignInProblem(
            _WRONG,
            next_step="Wait for the next code, or use a recovery code. "
            "If you've lost both, ask an administrator.",
        )


# -- again, for what creates keys, tokens and users


def demand_code(user: User, code: str, *, address: str) -> None:
    """Accept a code from a program, where the user has a second factor; the caller commits.

    A code counts once, and only together with what it was sent for. Raises CodeRequired or
    TooManyAttempts.
    """
    if not is_on(user):
        return
    if not code:
        db.session.commit()
        raise CodeRequired(
            "This account uses two-factor authentication, so this needs a code.",
            where=f"the {CODE_HEADER} header",
            expected="six digits from the authenticator app, or a recovery code",
            got="none",
            next_step="Send a code, or do it on your account page.",
        )
    if not _is_accepted(user.id, code, address):
        raise CodeRequired(
            _WRONG, where=f"the {CODE_HEADER} header", next_step="Wait for the next code."
        )


def confirm(me: SignedIn, password: str, code: str, address: str) -> None:
    """Accept a signed-in person's password again, and a code where they have a second factor.

    Raises InvalidFields or TooManyAttempts.
    """
    _check_password(me, password, address)
    if is_on(users.get(me.user_id)):
        _check_code(me, code, address)
    sessions.confirm(me)
    db.session.commit()


# -- on one's own account


def turn_on(me: SignedIn, key: str, password: str, code: str, address: str) -> list[str]:
    """Ask for codes of this key from now on, and end all other sessions.

    Returns the recovery codes, this one time. Raises InvalidFields, Conflict or TooManyAttempts.
    """
    _check_password(me, password, address)
    step = accepted_step(key, code, utcnow(), 0)
    if step is None:
        raise InvalidFields({"code": [_WRONG]})
    user = _locked(me.user_id)
    if is_on(user):
        db.session.rollback()
        raise Conflict(
            "Two-factor authentication is already on.",
            where=me.username,
            next_step="To use another key, turn it off first.",
        )
    user.totp_secret, user.totp_last_step = secrets.seal(key), step
    codes = _give_codes(user)
    sessions.end_all_of(user.id, but=me.session_id)
    events.record("user.two_factor_on", actor=me.username, subject=me.username)
    db.session.commit()
    return codes


def renew_codes(me: SignedIn, code: str, address: str) -> list[str]:
    """Make new recovery codes; the old ones are void.

    Raises InvalidFields, Conflict or TooManyAttempts.
    """
    _check_code(me, code, address)
    codes = _give_codes(users.get(me.user_id))
    events.record("user.recovery_codes_made", actor=me.username, subject=me.username)
    db.session.commit()
    return codes


def turn_off(me: SignedIn, password: str, code: str, address: str) -> None:
    """Turn codes off, and end all other sessions.

    Raises InvalidFields, Conflict or TooManyAttempts.
    """
    _check_password(me, password, address)
    _check_code(me, code, address)
    _remove(users.get(me.user_id))
    sessions.end_all_of(me.user_id, but=me.session_id)
    events.record("user.two_factor_off", actor=me.username, subject=me.username)
    db.session.commit()


# -- for users who lost it


def reset(user: User, *, actor: str = "") -> bool:
    """Remove a user's second factor; False when there was none.

    Raises Conflict for one's own, which is turned off with a code.
    """
    if actor == user.username:
        raise Conflict(
            "You can't reset your own second factor here.",
            next_step="Turn it off in your account, with your password and a code.",
        )
    if not is_on(user):
        return False
    _remove(user)
    events.record("user.two_factor_reset", actor=actor, subject=user.username)
    db.session.commit()
    return True


# -- the parts


def _check_password(me: SignedIn, password: str, address: str) -> None:
    if not sessions.check_again(users.get(me.user_id), password, address=address):
        events.record("user.password_refused", actor=me.username, subject=address)
        db.session.commit()
        raise InvalidFields({"password": ["Wrong password."]})
    db.session.commit()


def _check_code(me: SignedIn, code: str, address: str) -> None:
    if not is_on(users.get(me.user_id)):
        raise Conflict("Two-factor authentication is off.", next_step="Turn it on in your account.")
    if not _is_accepted(me.user_id, code, address):
        raise InvalidFields({"code": [_WRONG]})


def _is_accepted(user_id: int, code: str, address: str) -> bool:
    """Use a code up; a wrong one is recorded and committed, a right one is not yet."""
    key = str(user_id)
    if not (
        throttle.allow(sessions.ADDRESS_BUCKET, throttle.network(address))
        and throttle.allow(CODE_BUCKET, key)
    ):
        log.warning("codes throttled", address=address)
        raise TooManyAttempts(
            "Too many wrong codes.", next_step="Wait a minute, then try again with a new code."
        )
    user = _locked(user_id)
    if _use_step(user, code) or _use_recovery_code(user, code, address):
        throttle.forget(CODE_BUCKET, key)
        return True
    events.record("user.second_factor_refused", actor=user.username, subject=address)
    db.session.commit()
    return False


def _locked(user_id: int) -> User:
    """The user's current row, locked until the commit.

    An UPDATE comes first, since it is what SQLite locks by.
    """
    db.session.execute(
        update(User)
        .where(User.id == user_id)
        .values(totp_last_step=User.totp_last_step)
        .execution_options(synchronize_session=False)
    )
    user = users.get(user_id)
    db.session.refresh(user)
    return user


def _use_step(user: User, code: str) -> bool:
    try:
        key = secrets.unseal(user.totp_secret)
    except secrets.SecretProblem:
        log.warning("second factor unreadable: the secret key changed", user=user.username)
        return False
    step = accepted_step(key, code, utcnow(), user.totp_last_step) if key else None
    if step is not None:
        user.totp_last_step = step
    return step is not None


def _use_recovery_code(user: User, code: str, address: str) -> bool:
    used = _hashed(_plain(code))
    left = [kept for kept in user.recovery_hashes if not hmac.compare_digest(kept, used)]
    if not is_on(user) or len(left) == len(user.recovery_hashes):
        return False
    user.recovery_hashes = left
    events.record("user.recovery_code_used", actor=user.username, subject=address, left=len(left))
    return True


def _give_codes(user: User) -> list[str]:
    drawn = [token_bytes(_RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
    plain = [base64.b32encode(code).decode().lower() for code in drawn]
    user.recovery_hashes = [_hashed(code) for code in plain]
    return ["-".join(in_fours(code)) for code in plain]


def _remove(user: User) -> None:
    user.totp_secret, user.totp_last_step, user.recovery_hashes = "", 0, []


def in_fours(text: str) -> list[str]:
    """Cut a text into groups of four, for easier reading."""
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def _plain(code: str) -> str:
    """A code as it was typed or pasted, without spaces and hyphens."""
    return "".join(code.split()).replace("-", "").lower()


def _state(user: User) -> str:
    # A new password or factor makes whatever was begun with the old one void.
    return _hashed(f"{user.password_hash}\0{user.totp_secret}")


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
