# SPDX-License-Identifier: Apache-2.0
"""The event log: what happened, who did it, and to what; one row per event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import Event


def record(kind: str, *, actor: str = "", subject: str = "", **detail: Any) -> Event:
    """Add an event to the session; it is kept if and when the caller commits.

    kind: ``noun.verb`` in the past tense, e.g. ``source.added``.
    detail: JSON values, never a secret.
    """
    event = Event(kind=kind, actor=actor, subject=subject, detail=detail)
    db.session.add(event)
    return event


def page(
    *, kind: str = "", actor: str = "", subject: str = "", before: int = 0, limit: int = 100
) -> Sequence[Event]:
    """Events, the newest first.

    kind: a whole word, or all that begin with it when it ends in a dot. before: only
    those with a smaller id, 0 for all.
    """
    query = select(Event).order_by(Event.id.desc()).limit(limit)
    if before:
        query = query.where(Event.id < before)
    if kind.endswith("."):
        query = query.where(Event.kind.startswith(kind, autoescape=True))
    elif kind:
        query = query.where(Event.kind == kind)
    if actor:
        query = query.where(Event.actor == actor)
    if subject:
        query = query.where(Event.subject == subject)
    return db.session.scalars(query).all()
