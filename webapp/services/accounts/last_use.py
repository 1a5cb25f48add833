# SPDX-License-Identifier: Apache-2.0
"""When a key or token was used last, written down now and then."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import or_, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.extensions import db
from webapp.models import APIKey, APIToken, utcnow

USED_EVERY = timedelta(minutes=10)

log = structlog.get_logger(__name__)


def note(row: APIKey | APIToken) -> None:
    """Note the use of a key or token, at most once in USED_EVERY; commits.

    Never fails: scripts may still read when nothing can be written any more.
    """
    now = utcnow()
    if row.used_at is not None and now - row.used_at <= USED_EVERY:
        return
    kind = type(row)
    is_old = or_(kind.used_at.is_(None), kind.used_at < now - USED_EVERY)
    try:
        db.session.execute(update(kind).where(kind.id == row.id, is_old).values(used_at=now))
        db.session.commit()
    except SQLAlchemyError as error:
        db.session.rollback()
        log.warning("a use was not noted", of=kind.__tablename__, error=type(error).__name__)
