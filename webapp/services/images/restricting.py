# SPDX-License-Identifier: Apache-2.0
"""Keep an image to networks and machines, e.g. by its license (rule: kept-images).

It belongs to a name, not to bytes: it may be set before the image is there, and stays when
it's deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from webapp.errors import InvalidFields, NotFound, Problem
from webapp.extensions import db
from webapp.models import (
    BootEntry,
    BootResource,
    Event,
    ImageRestriction,
    Publication,
    utcnow,
)
from webapp.services.images import publishing
from webapp.services.images.keys import CUSTOM
from webapp.services.system import events
from webapp.services.system.wake import wake
from webapp.streams import restrictions
from webapp.streams.restrictions import MAX_ENTRIES, Restriction

MAX_NOTE = 200
LATELY = timedelta(days=30)  # who fetched an image since then may want it again
MAX_MACHINES = 100
_NAME = re.compile(r"[\w.+~:@-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Loss:
    """Who may have an image now, and won't. machines: addresses that fetched it lately.

    entries: MAC addresses with a boot entry for it that get it by their network alone.
    """

    is_narrower: bool
    machines: tuple[str, ...]
    entries: tuple[str, ...]


def of(os: str, release: str, arch: str) -> ImageRestriction | None:
    """The restriction of an image as links name it; None for one that's for everyone."""
    return db.session.get(ImageRestriction, (os, release, arch))


def listing() -> Sequence[ImageRestriction]:
    """All of them."""
    order = (ImageRestriction.os, ImageRestriction.release, ImageRestriction.arch)
    return db.session.scalars(select(ImageRestriction).order_by(*order)).all()


def stored() -> frozenset[tuple[str, str, str]]:
    """The images that there are, so that a name with a slip of the pen is seen."""
    columns = (BootResource.os, BootResource.release, BootResource.arch)
    rows = db.session.execute(select(*columns).where(BootResource.bootloader_type == "").distinct())
    return frozenset((row.os or CUSTOM, row.release, row.arch) for row in rows)


def read(networks: Sequence[str], macs: Sequence[str]) -> Restriction:
    """What people wrote, as it's stored. Raises InvalidFields."""
    found = Restriction(
        _each("networks", networks, restrictions.read_network),
        _each("macs", macs, restrictions.read_machine),
    )
    count = len(found.networks) + len(found.macs)
    if not count:
        raise InvalidFields({"networks": ["Enter a network or a MAC address."]})
    if count > MAX_ENTRIES:
        words = f"Enter up to {MAX_ENTRIES} networks and MAC addresses together, not {count}."
        raise InvalidFields({"networks": [words]})
    return found


def loss(os: str, release: str, arch: str, new: Restriction) -> Loss:
    """Whom a restriction would take an image from."""
    old = of(os, release, arch)
    before = Restriction(tuple(old.networks), tuple(old.macs)) if old else None
    if new.covers(before):
        return Loss(False, (), ())
    fetched = db.session.scalars(
        select(Event.actor)
        .where(Event.kind == events.FETCHED, Event.at >= utcnow() - LATELY)
        .where(Event.subject.startswith(f"{os}/{arch}/", autoescape=True))
        .where(Event.subject.contains(f"/{release}/", autoescape=True))
        .distinct()
    )
    lost = [one for one in fetched if not new.has_address(one)]
    named = db.session.scalars(
        select(BootEntry.machine).where(
            BootEntry.os == os, BootEntry.release == release, BootEntry.arch == arch
        )
    )
    entries = sorted(one for one in named if ":" in one and one not in new.macs)
    return Loss(True, tuple(sorted(lost)[:MAX_MACHINES]), tuple(entries[:MAX_MACHINES]))


def restrict(
    actor: str,
    os: str,
    release: str,
    arch: str,
    new: Restriction,
    note: str = "",
    *,
    seen: int | None = None,
) -> ImageRestriction:
    """Give an image only to these, at once. seen: the revision that was changed, 0 for none.

    Raises InvalidFields, and Problem where someone else was faster.
    """
    _check(os, release, arch)
    note = note.strip()
    if len(note) > MAX_NOTE or not note.isprintable():
        words = f"Enter a single line of up to {MAX_NOTE} characters."
        raise InvalidFields({"note": [words]})
    publishing.bump()  # and so changes come one after the other
    row = of(os, release, arch)
    _check_seen(row, seen)
    row = row or ImageRestriction(os=os, release=release, arch=arch)
    row.networks, row.macs, row.note = list(new.networks), list(new.macs), note
    row.updated_by, row.updated_at = actor, utcnow()
    row.revision = db.session.scalar(select(Publication.serial)) or 0
    db.session.add(row)
    kept = {"networks": row.networks, "macs": row.macs, "note": note}
    events.record("image.restricted", actor=actor, subject=_words(os, release, arch), **kept)
    db.session.commit()
    wake()
    return row


def lift(actor: str, os: str, release: str, arch: str, *, seen: int | None = None) -> None:
    """Give an image to everyone. Raises NotFound, and Problem where someone else was faster."""
    publishing.bump()
    row = of(os, release, arch)
    if row is None:
        db.session.rollback()
        raise NotFound(
            "This image is for everyone already.",
            where=_words(os, release, arch),
            next_step="`slipway image restrict` lists the restricted ones.",
        )
    _check_seen(row, seen)
    db.session.delete(row)
    events.record("image.released", actor=actor, subject=_words(os, release, arch))
    db.session.commit()
    wake()


def _check_seen(row: ImageRestriction | None, seen: int | None) -> None:
    now = row.revision if row else 0
    if seen is not None and seen != now:
        db.session.rollback()
        raise Problem(
            "Someone else changed to whom this image is kept.",
            code="changed-meanwhile",
            next_step="Look at it again, and decide with what it says now.",
        )


def _check(os: str, release: str, arch: str) -> None:
    """Refuse what can't be an image for machines to choose. Raises InvalidFields."""
    if not all(map(_NAME.fullmatch, (os, release, arch))):
        raise InvalidFields({"name": ["Enter the name of an image, e.g. ubuntu/noble."]})
    loader = select(BootResource.id).where(
        BootResource.os == os,
        BootResource.release == release,
        BootResource.arch == arch,
        BootResource.bootloader_type != "",
    )
    if db.session.scalar(loader.limit(1)):
        words = "A boot loader can't be restricted: machines need it to boot anything."
        raise InvalidFields({"name": [words]})


def _each(field: str, values: Sequence[str], read: Callable[[str], str]) -> tuple[str, ...]:
    """Each value once, as it's stored. Raises InvalidFields with all that can't be used."""
    found, wrong = [], []
    for value in filter(None, (one.strip() for one in values)):
        try:
            found.append(read(value))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise InvalidFields({field: wrong[:5]})
    return tuple(dict.fromkeys(found))


def _words(os: str, release: str, arch: str) -> str:
    return f"{os}/{release} {arch}"
