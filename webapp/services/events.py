# SPDX-License-Identifier: Apache-2.0
"""What happened, by whom, to what: one row each, for people to read later."""

from __future__ import annotations

from typing import Any

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
