# SPDX-License-Identifier: Apache-2.0
"""Every name of the publication, as racks elsewhere follow it (``streams.racks``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from webapp.models import Publication, utcnow
from webapp.services.images.published import PublishedNames, read_names
from webapp.streams import racks
from webapp.streams.racks import RackDocument, RackFile, RackSet

_UNDATED = datetime(1970, 1, 1, tzinfo=UTC)


def read(connection: Connection) -> tuple[RackSet, ...]:
    """Current and kept versions of one publication, whatever the mirror offers to others.

    Replaced ones aren't listed: a rack keeps their names itself for a while.
    """
    while True:
        serial = _serial(connection)
        names = read_names(connection, serial, timedelta(0), utcnow())
        if _serial(connection) == serial:  # else it was raised: they may be of either
            return _sets(names)


def written(
    updated: datetime | None, sets: tuple[RackSet, ...], documents: Mapping[str, bytes]
) -> bytes:
    """The document to sign, beside the others of the same state."""
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
            contents[first.set_id] = RackSet(first.version, first.modified, (), (), listed)
    return tuple(
        RackSet(one.version, one.completed, tuple(kinds[False]), tuple(kinds[True]), one.files)
        for set_id, one in sorted(contents.items(), key=lambda item: item[1].version)
        for kinds in (folders[set_id],)
    )


def _serial(connection: Connection) -> int:
    return connection.scalar(select(Publication.serial)) or 0
