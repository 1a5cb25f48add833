# SPDX-License-Identifier: Apache-2.0
"""The event log: what happened, who did it, and to what; one row per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, true

from webapp.extensions import db
from webapp.models import Event, Role

# Whose actor is a machine, which is what these are about; any other actor may be a person.
FETCHED, REFUSED = "image.fetched", "image.refused"
_BY_MACHINES = (FETCHED, REFUSED, "image.unavailable", "mirror.read")
_SHOWN_TO = {
    Role.VIEWER: ("image.", "blob."),
    Role.OPERATOR: (
        *("image.", "blob.", "run.", "source.", "selection.", "upload.", "scrub.", "rack."),
        "mirror.",
    ),
}

# How kinds begin, and what they are about.
SUBJECTS = {
    "image.": "Images and machines",
    "run.": "Imports",
    "source.": "Boot sources",
    "selection.": "Selections",
    "rule.": "Selection rules",
    "upload.": "Uploads",
    "blob.": "Stored files",
    "scrub.": "Storage checks",
    "boot.": "Boot choices",
    "mirror.": "Local mirror",
    "rack.": "Racks",
    "rack_token.": "Tokens for racks",
    "user.": "Users",
    "access.": "Refused access",
    "api_key.": "API keys",
    "api_token.": "API tokens",
    "setting.": "Settings",
    "backup.": "Backups",
}


@dataclass(frozen=True)
class Wanted:
    """Which events; what is empty doesn't matter.

    machine: its address. user: a name. image: ``os/release`` or ``os/release/arch``, or how
    a subject begins. since, until: aware times, the latter excluded. before: an id.
    """

    kind: str = ""
    machine: str = ""
    user: str = ""
    image: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int = 0


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
    query = _newest(Wanted(kind=kind, before=before), limit, role)
    if actor:
        query = query.where(Event.actor == actor)
        if role == Role.VIEWER:  # what isn't shown can't be asked for either
            query = query.where(Event.kind.in_(_BY_MACHINES))
    if subject:
        query = query.where(Event.subject == subject)
    return db.session.scalars(query).all()


def find(wanted: Wanted, *, limit: int, role: Role) -> Sequence[Event]:
    """Events that a role may see, the newest first, as ``page``; one query by an index."""
    query = _newest(wanted, limit, role)
    if wanted.machine:
        query = query.where(Event.actor == wanted.machine, Event.kind.in_(_BY_MACHINES))
    if wanted.user:  # what isn't shown can't be asked for either
        is_asked = role != Role.VIEWER
        mine = and_(Event.actor == wanted.user, Event.kind.not_in(_BY_MACHINES))
        query = query.where(mine if is_asked else ~true())
    if wanted.image:
        query = query.where(_is_about(wanted.image))
    if wanted.since:
        query = query.where(Event.at >= wanted.since)
    if wanted.until:
        query = query.where(Event.at < wanted.until)
    return db.session.scalars(query).all()


def subjects(role: Role) -> dict[str, str]:
    """How the kinds begin that a role may see, with words."""
    shown = SUBJECTS if role == Role.ADMINISTRATOR else _SHOWN_TO[role]
    return {prefix: words for prefix, words in SUBJECTS.items() if prefix in shown}


def shown_actor(event: Event, role: Role) -> str:
    """Who did it, as a role may know it: viewers know machines, and no users."""
    return event.actor if role != Role.VIEWER or event.kind in _BY_MACHINES else ""


def is_by_machine(event: Event) -> bool:
    """Whether its actor is the address of a machine."""
    return event.kind in _BY_MACHINES


def _newest(wanted: Wanted, limit: int, role: Role) -> Select[Event]:
    query = select(Event).where(_shown_to(role)).order_by(Event.id.desc()).limit(limit)
    if wanted.before:
        query = query.where(Event.id < wanted.before)
    if wanted.kind.endswith("."):
        query = query.where(Event.kind.startswith(wanted.kind, autoescape=True))
    elif wanted.kind:
        query = query.where(Event.kind == wanted.kind)
    return query


def _is_about(image: str) -> ColumnElement[bool]:
    """Subjects are what machines ask for, ``os/arch/kernel/release/label``, or names.

    Names have the architecture after a blank: ``ubuntu/noble amd64/ga-24.04``.
    """
    os, release, arch = [*image.strip("/").split("/"), "", ""][:3]
    found = [Event.subject.startswith(image, autoescape=True)]
    if release:
        name = f"{os}/{release} {arch}" if arch else f"{os}/{release}"
        asked = Event.subject.startswith(f"{os}/{arch}/" if arch else f"{os}/", autoescape=True)
        found.append(Event.subject.startswith(name, autoescape=True))
        found.append(and_(asked, Event.subject.contains(f"/{release}/", autoescape=True)))
    return or_(*found)


def _shown_to(role: Role) -> ColumnElement[bool]:
    if role == Role.ADMINISTRATOR:
        return true()
    return or_(*(Event.kind.startswith(kind, autoescape=True) for kind in _SHOWN_TO[role]))
