# SPDX-License-Identifier: Apache-2.0
"""The stream that is served: replaced as a whole, withdrawn as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from webapp.errors import Problem
from webapp.extensions import db, settings
from webapp.models import PublishedDocument, PublishedStream, Rack, utcnow
from webapp.services.system import statements

MAX_REPLACED = 60  # documents kept for readers that are under way, whatever the grace time


def row() -> PublishedStream:
    """The row about the stream, made where there is none; the caller commits."""
    found = db.session.get(PublishedStream, 1, populate_existing=True)
    if found is None:
        statements.execute(statements.insert_new(PublishedStream).values(id=1))
        found = db.session.get_one(PublishedStream, 1)
    return found


def replace(revision: int, documents: Mapping[str, bytes], values: Mapping[str, object]) -> bool:
    """Serve these documents from now on, if the stream still has this revision. Commits.

    Replaced documents whose names aren't used again stay for the grace time.
    """
    changed = statements.count(
        update(PublishedStream)
        .where(PublishedStream.id == 1, PublishedStream.revision == revision)
        .values(**values, revision=revision + 1, problem={})
    )
    if not changed:
        db.session.rollback()
        return False
    now = utcnow()
    is_same = PublishedDocument.path.in_(documents)
    statements.execute(delete(PublishedDocument).where(is_same))
    statements.execute(
        update(PublishedDocument)
        .where(PublishedDocument.replaced_at.is_(None))
        .values(replaced_at=now)
    )
    db.session.add_all(
        PublishedDocument(
            path=path,
            content=content,
            sha256=hashlib.sha256(content).hexdigest(),
            published_at=now,
        )
        for path, content in documents.items()
    )
    _forget(now)
    db.session.commit()
    return True


def has_racks() -> bool:
    """Whether racks on other machines read it, also while it's off for everyone else."""
    return db.session.scalar(select(Rack.id).limit(1)) is not None


def withdraw() -> None:
    """Serve nothing any more. The caller commits."""
    row()
    statements.execute(
        update(PublishedStream)
        .where(PublishedStream.id == 1)
        .values(revision=PublishedStream.revision + 1, serial=-1, state="", problem={})
    )
    statements.execute(delete(PublishedDocument))


def _forget(now: datetime) -> None:
    """Delete documents that were replaced long ago, or too many of them."""
    over = now - timedelta(seconds=settings().retire_grace)
    kept = (
        select(PublishedDocument.path)
        .where(PublishedDocument.replaced_at > over)
        .order_by(PublishedDocument.replaced_at.desc(), PublishedDocument.path)
        .limit(MAX_REPLACED)
    )
    statements.execute(
        delete(PublishedDocument).where(
            PublishedDocument.replaced_at.is_not(None),
            PublishedDocument.path.not_in(db.session.scalars(kept).all()),
        )
    )


def as_problem(error: Exception, what: str, next_step: str) -> Problem:
    """Why the worker's attempt failed: itself if it's a Problem, else one with these words."""
    if isinstance(error, Problem):
        return error
    words = getattr(error, "strerror", None) or str(getattr(error, "orig", error))
    return Problem(what, code="mirror", got=words[:300], next_step=next_step)
