# SPDX-License-Identifier: Apache-2.0
"""Slow down guessing: token buckets in the database, so that all processes count together."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, extract, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.extensions import db
from webapp.models import LoginThrottle, utcnow

FULL = timedelta(days=1)  # every bucket is full again after this time
KNOWN = timedelta(days=180)  # a network stays known for this long after a sign-in
_KNOWN = "known:"


@dataclass(frozen=True)
class Bucket:
    """``capacity`` tries at once, then one more every ``refill_s`` seconds."""

    name: str
    capacity: int
    refill_s: int


def allow(bucket: Bucket, key: str) -> bool:
    """Take one token of this key's bucket; False when it is empty. Commits.

    One conditional UPDATE both counts and decides, so that guesses at the same
    moment cannot share a token, whichever process they reach.
    """
    # Whole seconds everywhere: SQLite's epoch has no fractions, PostgreSQL's has.
    now = utcnow().replace(microsecond=0)
    mine = LoginThrottle.key == _hashed(bucket, key)
    elapsed_s = int(now.timestamp()) - extract("epoch", LoginThrottle.updated_at)
    filled = LoginThrottle.tokens + elapsed_s / float(bucket.refill_s)
    tokens = case((filled > bucket.capacity, float(bucket.capacity)), else_=filled)
    while True:
        _prepare(bucket, key, now)
        took: Any = db.session.execute(
            update(LoginThrottle)
            .where(mine, tokens >= 1)
            .values(tokens=tokens - 1, updated_at=now)
            .execution_options(synchronize_session=False)
        )
        # A right password or code may have filled it, by removing its row, since it was prepared.
        is_empty = bool(db.session.scalar(select(LoginThrottle.key).where(mine, tokens < 1)))
        db.session.commit()
        if took.rowcount == 1 or is_empty:
            return bool(took.rowcount == 1)


def _prepare(bucket: Bucket, key: str, now: datetime) -> None:
    """Have a row, whose time isn't in the future."""
    hashed = _hashed(bucket, key)
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    db.session.execute(
        insert(LoginThrottle)
        .values(key=hashed, tokens=float(bucket.capacity), updated_at=now)
        .on_conflict_do_nothing()
    )
    # After the clock was set back, time counts from now on: waiting for it to
    # catch up would keep everyone out.
    db.session.execute(
        update(LoginThrottle)
        .where(LoginThrottle.key == hashed, LoginThrottle.updated_at > now)
        .values(updated_at=now)
        .execution_options(synchronize_session=False)
    )


def forget(bucket: Bucket, key: str) -> None:
    """Fill a bucket again; the caller commits."""
    db.session.execute(delete(LoginThrottle).where(LoginThrottle.key == _hashed(bucket, key)))


def remember(key: str) -> None:
    """Note a sign-in with this key, e.g. an account and a network; the caller commits."""
    now = utcnow()
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    db.session.execute(
        insert(LoginThrottle)
        .values(key=_known(key), tokens=0.0, updated_at=now)
        .on_conflict_do_update(index_elements=["key"], set_={"updated_at": now})
    )


def is_known(key: str) -> bool:
    """Whether ``remember`` noted this key within KNOWN."""
    query = select(LoginThrottle.updated_at).where(LoginThrottle.key == _known(key))
    at = db.session.scalar(query)
    return at is not None and at > utcnow() - KNOWN


def sweep() -> None:
    """Drop buckets that must be full again, and old sign-ins; the caller commits."""
    now = utcnow()
    is_known = LoginThrottle.key.startswith(_KNOWN)
    is_over = case(
        (is_known, LoginThrottle.updated_at < now - KNOWN),
        else_=LoginThrottle.updated_at < now - FULL,
    )
    db.session.execute(delete(LoginThrottle).where(is_over))


def network(address: str) -> str:
    """What one machine can call itself: its IPv4 address, or the /64 of its IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _hashed(bucket: Bucket, key: str) -> str:
    return hashlib.sha256(f"{bucket.name}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


def _known(key: str) -> str:
    return _KNOWN + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
