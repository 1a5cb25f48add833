# SPDX-License-Identifier: Apache-2.0
"""The event log: what happened, who did it, and to what; one row per event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, or_, select, true

from webapp.extensions import db
from webapp.models import Event, Role

# Whose actor is a machine, which is what these are about; any other actor may be a person.
_BY_MACHINES = ("image.fetched", "image.unavailable", "mirror.read")
_SHOWN_TO = {
    Role.VIEWER: ("image.", "blob."),
    Role.OPERATOR: (
        *("image.", "blob.", "run.", "source.", "selection.", "upload.", "scrub.", "rack."),
        "mirror.",
    ),
}


def record(kind: str, *, actor: str = "", subject: str = "", **detail: Any) -> Event:
    """Add an event to the session; it is kept if and when the caller commits.

    kind: ``noun.verb`` in the past tense, e.g. ``source.added``.
    detail: JSON values, never a secret.
    """
    event = Event(kind=kind, actor=actor, subject=subject, detail=detail)
    db.session.add(event)
    return event


def page(
    *,
    kind: str = "",
    actor: str = "",
    subject: str = "",
    before: int = 0,
    limit: int = 100,
    role: Role = Role.ADMINISTRATOR,
) -> Sequence[Event]:
    """Events that a role may see, the newest first.

    kind: a whole word, or all that begin with it when it ends in a dot. before: only
    those with a smaller id, 0 for all. Operators see what happens to images and where
    they come from, viewers images and machines: see ``shown_actor``.
    """
    query = select(Event).where(_shown_to(role)).order_by(Event.id.desc()).limit(limit)
    if before:
        query = query.where(Event.id < before)
    if kind.endswith("."):
        query = query.where(Event.kind.startswith(kind, autoescape=True))
    elif kind:
        query = query.where(Event.kind == kind)
    if actor:
        query = query.where(Event.actor == actor)
        if role == Role.VIEWER:  # what isn't shown can't be asked for either
            query = query.where(Event.kind.in_(_BY_MACHINES))
    if subject:
        query = query.where(Event.subject == subject)
    return db.session.scalars(query).all()


def shown_actor(event: Event, role: Role) -> str:
    """Who did it, as a role may know it: viewers know machines, and no users."""
    return event.actor if role != Role.VIEWER or event.kind in _BY_MACHINES else ""


def _shown_to(role: Role) -> ColumnElement[bool]:
    if role == Role.ADMINISTRATOR:
        return true()
    return or_(*(Event.kind.startswith(kind, autoescape=True) for kind in _SHOWN_TO[role]))
