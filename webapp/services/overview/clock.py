# SPDX-License-Identifier: Apache-2.0
"""Recover from a clock that was set back: what lies in the future happened just now.

A session, claim, grace time or schedule that depends on its age would otherwise
wait until the clock has caught up, which may take hours or years.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import InstrumentedAttribute

from webapp.extensions import db
from webapp.models import (
    APIKey,
    APIToken,
    Blob,
    BlobState,
    BootResource,
    Event,
    ImportRun,
    LoginSession,
    LoginThrottle,
    ResourceSet,
    Upload,
)
from webapp.services.blobs import scrubbing
from webapp.services.imports import runs
from webapp.services.system import statements

log = structlog.get_logger(__name__)

SKEW = timedelta(minutes=1)  # machines that share a database may differ by this much

# Times that something is decided by. Not those that tell one state of a row from
# another (a source's updated_at, a served file's verified_at), and not
# Blob.checked_at: the scrub checks again what was checked in the future.
_PAST: tuple[InstrumentedAttribute[Any], ...] = (
    LoginSession.created_at,
    LoginSession.seen_at,
    LoginThrottle.updated_at,
    APIKey.used_at,
    APIToken.used_at,
    ImportRun.queued_at,
    ImportRun.started_at,
    ImportRun.finished_at,
    Upload.claimed_at,
    Upload.touched_at,
    BootResource.binned_at,
    BootResource.gone_since,
    BootResource.updated_at,
    ResourceSet.fetched_at,
    ResourceSet.retired_at,
    Event.at,
)


def settle() -> int:
    """Move times of the future to now; returns how many columns had any. Commits."""
    now = runs.now()
    late = now + SKEW
    lease = timedelta(seconds=runs.LEASE_S)
    rules: list[tuple[InstrumentedAttribute[Any], Any, datetime | None]] = [
        (column, column > late, now) for column in _PAST
    ]
    is_deleted = (Blob.state == BlobState.DELETING) & (Blob.verified_at > late)
    rules.append((Blob.verified_at, is_deleted, now))
    rules.append((ImportRun.lease_until, ImportRun.lease_until > late + lease, now + lease))
    # A password that was entered then may have been entered long ago: ask again.
    rules.append((LoginSession.confirmed_at, LoginSession.confirmed_at > late, None))
    # One query that reads; only a clock that was set back costs the write lock.
    found = db.session.execute(
        select(*(select(column).where(is_late).exists() for column, is_late, _ in rules))
    ).one()
    wrong = [rule for rule, is_wrong in zip(rules, found, strict=True) if is_wrong]
    for column, is_late, value in wrong:
        statements.execute(update(column.class_).where(is_late).values({column.key: value}))
    scrubbing.settle(now)
    db.session.commit()
    if wrong:
        names = sorted(f"{column.class_.__tablename__}.{column.key}" for column, _, _ in wrong)
        log.warning("the clock was set back; times of the future count as now", times=names)
    return len(wrong)
