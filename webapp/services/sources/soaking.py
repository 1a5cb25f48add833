# SPDX-License-Identifier: Apache-2.0
"""Soak times: import only versions that are at least some days old (rule: soak-time).

The days of an image win over those of its source, and those over the setting. A version is
as old as the date in its name, or else as its first sight in the signed stream.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import delete, select, update

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import BootSource, BootSourceCache, ImageSoak, utcnow
from webapp.numbers import counted
from webapp.services.sources import catalogue
from webapp.services.system import events, live_settings
from webapp.services.system.live_settings import SOAK_DAYS
from webapp.streams.documents import version_key
from webapp.streams.offers import Offer

_DATED = re.compile(r"(\d{4})(\d\d)(\d\d)(\.\d+)*", re.ASCII)
_DAY = timedelta(days=1)
Sightings = Mapping[str, str]  # version -> first seen at, as ISO; "" where its name has a date


@dataclass(frozen=True)
class Hold:
    """A version that a soak time keeps from machines until a day.

    is_first: no version of the image is old enough yet, so that it isn't imported at all.
    """

    version: str
    until: date
    days: int
    is_first: bool = False

    @property
    def words(self) -> str:
        """What waits, for what and until when."""
        what = "no version is" if self.is_first else f"{self.version} isn't"
        return f"{what} {counted(self.days, 'day')} old yet; {self.version} will be on {self.until}"


@dataclass(frozen=True)
class Soak:
    """The soak times of a source's images. images: those of their own, by name and architecture.

    first_seen: by product, of the versions whose names have no date.
    """

    now: datetime = field(default_factory=utcnow)
    days: int = 0
    images: Mapping[tuple[str, str], int] = field(default_factory=dict)
    first_seen: Mapping[str, Sightings] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.days) or any(self.images.values())

    def days_of(self, os: str, release: str, arch: str) -> int:
        """How old versions of an image must be."""
        return self.images.get((f"{os}/{release}", arch), self.days)

    def choose(self, offer: Offer, accepted: str = "") -> tuple[Offer, Hold | None]:
        """The newest version that is old enough, and the newest one that isn't.

        Where none is, the offer is the one that will be first. accepted: a version that
        counts as old enough.
        """
        days = self.days_of(offer.os, offer.release, offer.arch)
        builds = {offer.version: offer} | {b.version: offer.of_build(b) for b in offer.older}
        seen = self.first_seen.get(offer.product, {})
        found, hold = verdict(builds, seen, days, self.now, accepted)
        return builds[found], hold


def verdict(
    versions: Collection[str], seen: Sightings, days: int, now: datetime, accepted: str = ""
) -> tuple[str, Hold | None]:
    """As Soak.choose, of version names, newest first."""
    due = {one: due_on(one, seen.get(one, ""), days) for one in versions} if days else {}
    newest = next(iter(versions))
    today = now.astimezone(UTC).date()
    ready = next((v for v in versions if v == accepted or due.get(v, today) <= today), "")
    if ready == newest:
        return newest, None
    if ready:
        return ready, Hold(newest, due[newest], days)
    first = min(reversed(list(due)), key=lambda one: due[one])
    return first, Hold(first, due[first], days, is_first=True)


def due_on(version: str, first_seen: str, days: int) -> date:
    """The day from which a version is old enough. One that was never dated always was."""
    born = dated(version)
    if born is None:
        born = datetime.fromisoformat(first_seen).date() if first_seen else date.min
    return born + days * _DAY if born.year < date.max.year else date.max


def dated(version: str) -> date | None:
    """The date in the name of a version, e.g. 20261129.1."""
    match = _DATED.fullmatch(version)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def sightings(offer: Offer, known: Sightings, now: datetime) -> dict[str, str]:
    """The versions of an offer, newest first, with their first sight if they need it."""
    names = (offer.version, *(build.version for build in offer.older))
    return {one: "" if dated(one) else known.get(one) or now.isoformat() for one in names}


# -- reading and changing


def of_sources() -> dict[int, Soak]:
    """The soak times of each source, in three queries."""
    now, default = utcnow(), int(live_settings.read(SOAK_DAYS))
    images = {(one.name, one.arch): one.days for one in db.session.scalars(select(ImageSoak))}
    rows = db.session.execute(select(BootSource.id, BootSource.soak_days))
    own = {row.id: default if row.soak_days is None else row.soak_days for row in rows}
    if not any(own.values()) and not any(images.values()):
        return dict.fromkeys(own, Soak(now))
    seen: dict[int, dict[str, Sightings]] = {id: {} for id in own}
    columns = (BootSourceCache.source_id, BootSourceCache.product, BootSourceCache.versions)
    for row in db.session.execute(select(*columns)):
        seen[row.source_id][row.product] = row.versions
    return {id: Soak(now, days, images, seen[id]) for id, days in own.items()}


def of_image(name: str, arch: str) -> int | None:
    """The days of an image alone; None where its source or the setting decides."""
    found = db.session.get(ImageSoak, (name, arch))
    return found.days if found else None


def set_image(name: str, arch: str, days: int | None, actor: str) -> None:
    """Give an image days of its own, None to take them away.

    Raises InvalidFields, and NotFound for an image that is neither on offer nor stored.
    """
    _check(days)
    catalogue.demand_known(name, arch)
    if days is None:
        which = (ImageSoak.name == name, ImageSoak.arch == arch)
        db.session.execute(delete(ImageSoak).where(*which))
    else:
        db.session.merge(ImageSoak(name=name, arch=arch, days=days))
    events.record("image.soak_changed", actor=actor, subject=f"{name} {arch}", days=days)
    db.session.commit()


def set_source(source: BootSource, days: int | None, actor: str) -> None:
    """Give a source days of its own, None for those of the setting. Raises InvalidFields."""
    _check(days)
    # It isn't read again for that, so updated_at stays (see refreshing).
    values = {"soak_days": days, "updated_at": BootSource.updated_at}
    db.session.execute(update(BootSource).where(BootSource.id == source.id).values(values))
    events.record("source.soak_changed", actor=actor, subject=source.url, days=days)
    db.session.commit()


def _check(days: int | None) -> None:
    if days is not None and not 0 <= days <= live_settings.MAX_SOAK_DAYS:
        raise InvalidFields({"days": [live_settings.SOAK_RANGE]})


def holds() -> dict[tuple[int, str, str], list[Hold | None]]:
    """What waits of each image on offer, by source, name and architecture; product by product.

    Empty without a query of the catalogue where no soak time is set.
    """
    soaks = of_sources()
    if not any(soaks.values()):
        return {}
    names = ("source_id", "os", "release", "arch", "versions", "version")
    columns = [getattr(BootSourceCache, name) for name in names]
    found: dict[tuple[int, str, str], list[Hold | None]] = defaultdict(list)
    for row in db.session.execute(select(*columns)):
        soak = soaks[row.source_id]
        days = soak.days_of(row.os, row.release, row.arch)
        _, hold = verdict(row.versions or [row.version], row.versions, days, soak.now)
        found[row.source_id, f"{row.os}/{row.release}", row.arch].append(hold)
    return found


def newest(holds: Iterable[Hold | None], stored: Iterable[str]) -> Hold | None:
    """The newest version that waits and is newer than all that machines have."""
    current = max(map(version_key, stored), default=())
    later = [one for one in holds if one and version_key(one.version) > current]
    return max(later, key=lambda one: version_key(one.version), default=None)
