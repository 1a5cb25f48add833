# SPDX-License-Identifier: Apache-2.0
"""Slow down guessing: token buckets in the database, so that all processes count together."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import case, delete, extract, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.extensions import db
from webapp.models import LoginThrottle, utcnow


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
    hashed = _hashed(bucket, key)
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    db.session.execute(
        insert(LoginThrottle)
        .values(key=hashed, tokens=float(bucket.capacity), updated_at=now)
        .on_conflict_do_nothing()
    )
    elapsed_s = int(now.timestamp()) - extract("epoch", LoginThrottle.updated_at)
    filled = LoginThrottle.tokens + elapsed_s / float(bucket.refill_s)
    tokens = case((filled > bucket.capacity, float(bucket.capacity)), else_=filled)
    took: Any = db.session.execute(
        update(LoginThrottle)
        .where(LoginThrottle.key == hashed, tokens >= 1)
        .values(tokens=tokens - 1, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    db.session.commit()
    return bool(took.rowcount == 1)


def forget(bucket: Bucket, key: str) -> None:
    """Fill a bucket again; the caller commits."""
    db.session.execute(delete(LoginThrottle).where(LoginThrottle.key == _hashed(bucket, key)))


def sweep() -> None:
    """Drop buckets that must be full again; the caller commits."""
    stale = utcnow() - timedelta(days=1)
    db.session.execute(delete(LoginThrottle).where(LoginThrottle.updated_at < stale))


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
    return hashlib.sha256(f"{bucket.name}\0{key}".encode()).hexdigest()
