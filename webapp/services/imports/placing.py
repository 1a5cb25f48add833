# SPDX-License-Identifier: Apache-2.0
"""Which bytes planned versions need, and where readable sources have them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from webapp.services.images.keys import PlannedSet
from webapp.services.imports.plans import Damaged, Location, PlannedBlob, SourceState, StoredBlob


def is_ready(blobs: Mapping[str, StoredBlob], sha256: str) -> bool:
    """Whether these bytes are whole and verified."""
    return sha256 in blobs and blobs[sha256].is_ready


def blobs_of(
    sets: Sequence[PlannedSet], enabled: Sequence[SourceState], known: Mapping[str, StoredBlob]
) -> tuple[PlannedBlob, ...]:
    """Everything that the sets need, each digest once: image by image, large files first.

    So whole images become usable early, and the last file of one is a small one.
    """
    missing = {digest for s in sets for digest in s.digests if not is_ready(known, digest)}
    places = _places(missing, enabled)
    found: dict[str, PlannedBlob] = {}
    for planned in sets:
        for item in sorted(planned.offer.items, key=lambda item: -item.size):
            if item.sha256 in found:
                continue
            blob = known.get(item.sha256, StoredBlob(item.size, is_ready=False))
            own = Location(planned.source_id, item.path)
            rest = places.get((item.sha256, item.size), ())
            found[item.sha256] = PlannedBlob(
                sha256=item.sha256,
                size=item.size,
                received=item.size if blob.is_ready else min(blob.received, item.size),
                is_ready=blob.is_ready,
                first=planned.key,
                version=planned.offer.version,
                filename=item.filename,
                locations=tuple(dict.fromkeys((own, *rest))),
            )
    return tuple(found.values())


def healing(
    damaged: Sequence[Damaged], enabled: Sequence[SourceState]
) -> tuple[tuple[PlannedBlob, ...], tuple[Damaged, ...]]:
    """Damaged bytes that a source still offers, to be fetched again; and the others."""
    places = _places({one.sha256 for one in damaged}, enabled)
    found = {one.sha256: one for one in damaged}
    healed = tuple(
        PlannedBlob(
            sha256=one.sha256,
            size=one.size,
            received=0,
            is_ready=False,
            first=one.key,
            version=one.version,
            filename=one.filename,
            locations=tuple(dict.fromkeys(places[one.sha256, one.size])),
        )
        for one in found.values()
        if (one.sha256, one.size) in places
    )
    orphans = tuple(one for one in found.values() if (one.sha256, one.size) not in places)
    return healed, orphans


def _places(
    needed: Collection[str], enabled: Sequence[SourceState]
) -> Mapping[tuple[str, int], list[Location]]:
    """Where readable sources have these bytes."""
    places: dict[tuple[str, int], list[Location]] = defaultdict(list)
    for source in enabled if needed else ():
        if source.is_judged:
            for offer in source.offers:
                for item in chain(offer.items, *(build.items for build in offer.older)):
                    if item.sha256 in needed:
                        places[item.sha256, item.size].append(Location(source.id, item.path))
    return places
