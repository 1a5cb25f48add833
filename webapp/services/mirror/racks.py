# SPDX-License-Identifier: Apache-2.0
"""Every name of the publication, as racks elsewhere follow it (``streams.racks``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from webapp.models import ImageRestriction, Publication, utcnow
from webapp.services.images.published import PublishedNames, read_names
from webapp.streams import racks
from webapp.streams.racks import (
    RESTRICTED_PATH,
    RackDocument,
    RackFile,
    RackSet,
    Restrictions,
)
from webapp.streams.restrictions import Restriction

_UNDATED = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Listed:
    """What racks are told of one publication. sets: of images for everyone, and of the others."""

    sets: tuple[RackSet, ...]
    restrictions: Restrictions

    @property
    def restricted(self) -> dict[str, bytes]:
        """The document of the images that aren't for everyone, by its path; none without them."""
        if not self.restrictions:
            return {}
        kept = [one for one in self.sets if one.restriction]
        return {RESTRICTED_PATH: racks.write_restricted(self.restrictions, kept)}


def read(connection: Connection) -> Listed:
    """Current and kept versions of one publication, whatever the mirror offers to others.

    Replaced ones aren't listed: a rack keeps their names itself for a while.
    """
    while True:
        serial = _serial(connection)
        names = read_names(connection, serial, timedelta(0), utcnow())
        restrictions = _restrictions(connection)
        if _serial(connection) == serial:  # else it was raised: they may be of either
            return Listed(_sets(names), restrictions)


def written(updated: datetime | None, listed: Listed, documents: Mapping[str, bytes]) -> bytes:
    """The document to sign, beside the others of the same state."""
    sets = tuple(one for one in listed.sets if not one.restriction)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in documents.items()}
    return racks.write(RackDocument(updated or _UNDATED, digests, sets))


def _sets(names: PublishedNames) -> tuple[RackSet, ...]:
    folders: dict[int, dict[bool, list[str]]] = {}
    contents: dict[int, RackSet] = {}
    for folder, files in sorted(names.folders.items()):
        first = next(iter(files.values()), None)
        if first is None:
            continue
        kinds = folders.setdefault(first.set_id, {False: [], True: []})
        kinds[first.is_pinned].append(folder)
        if first.is_pinned:
            listed = {
                name: RackFile(found.sha256, found.size, found.pinned_path)
                for name, found in files.items()
            }
            contents[first.set_id] = RackSet(
                first.version, first.modified, (), (), listed, first.restriction
            )
    return tuple(
        replace(one, current=tuple(kinds[False]), pinned=tuple(kinds[True]))
        for set_id, one in sorted(contents.items(), key=lambda item: item[1].version)
        for kinds in (folders[set_id],)
    )


def _restrictions(connection: Connection) -> Restrictions:
    columns = (
        ImageRestriction.os,
        ImageRestriction.release,
        ImageRestriction.arch,
        ImageRestriction.networks,
        ImageRestriction.macs,
    )
    return {
        f"{row.os}/{row.release}/{row.arch}": Restriction(tuple(row.networks), tuple(row.macs))
        for row in connection.execute(select(*columns))
    }


def _serial(connection: Connection) -> int:
    return connection.scalar(select(Publication.serial)) or 0
