# SPDX-License-Identifier: Apache-2.0
"""Read what can be selected, for ``picture`` to arrange."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache

from sqlalchemy import Text, cast, or_, select

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    BootSource,
    BootSourceCache,
    ResourceFile,
    ResourceSet,
    ResourceType,
)
from webapp.services.sources import rules, selections, sources, steps
from webapp.services.sources.picture import Picture, Row, arch_order, picture
from webapp.streams.mapping import Offer
from webapp.streams.offers import ImageName
from webapp.streams.osnames import order_key


@dataclass(frozen=True)
class OfferedRelease:
    """One line of a preview: a release with its architectures and their bytes together."""

    title: str
    arches: tuple[str, ...]
    size: int


def read(today: date | None = None) -> Picture:
    """The picture of the whole catalogue, in eight queries whatever its size.

    today: decides what is past its end of support; the current date in UTC by default.
    """
    names = [name for name in Row.__dataclass_fields__ if name != "files"]
    rows = db.session.execute(
        select(
            *(getattr(BootSourceCache, name) for name in names), cast(BootSourceCache.items, Text)
        )
        .join(BootSource, BootSource.id == BootSourceCache.source_id)
        .where(BootSource.is_enabled, BootSourceCache.bootloader_type == "")
        .order_by(BootSource.priority.desc(), BootSource.id, BootSourceCache.product)
    )
    ready = db.session.scalars(select(Blob.sha256).where(Blob.state == BlobState.READY))
    selected, chosen = selections.current()
    bound = {line: one.source_id for line, one in steps.bindings().items()}
    found = picture(
        # Best source first: the one that an image is bound to, then by priority.
        [
            Row(*(*columns, _files(items)))
            for *columns, items in sorted(
                rows, key=lambda row: bound.get((row.os, row.release, row.arch)) != row.source_id
            )
        ],
        sources.titles(),
        selected,
        frozenset(ready),
        _stored(),
        today or datetime.now(UTC).date(),
        chosen,
        rules.current(),
    )
    return replace(found, locked=_locked())


@lru_cache(maxsize=4096)
def _files(items: str) -> Mapping[str, int]:
    """The digests and sizes of a product's items; the same text is parsed once a process."""
    return {item["sha256"]: item["size"] for item in json.loads(items)}


def _stored() -> dict[ImageName, dict[str, int]]:
    rows = db.session.execute(
        select(BootResource.os, BootResource.release, BootResource.arch, Blob.sha256, Blob.size)
        .join(ResourceFile, ResourceFile.set_id == BootResource.current_set_id)
        .join(Blob, Blob.id == ResourceFile.blob_id)
    )
    found: dict[ImageName, dict[str, int]] = defaultdict(dict)
    for os, release, arch, sha256, size in rows:
        found[os, release, arch][sha256] = size
    return dict(found)


def _locked() -> frozenset[ImageName]:
    """Images of which a lock keeps something."""
    rows = db.session.execute(
        select(BootResource.os, BootResource.release, BootResource.arch)
        .outerjoin(ResourceSet, ResourceSet.resource_id == BootResource.id)
        .where(or_(BootResource.locked_at.is_not(None), ResourceSet.locked_at.is_not(None)))
    )
    return frozenset((os, release, arch) for os, release, arch in rows)


def offered(offers: Iterable[Offer]) -> list[OfferedRelease]:
    """What a source would bring, release by release in the order of the page."""
    groups: dict[tuple[str, str], list[Offer]] = defaultdict(list)
    for offer in sorted(offers, key=order_key):
        if not offer.bootloader_type:
            groups[offer.os, offer.release].append(offer)
    return [
        OfferedRelease(
            title=group[0].title or f"{os}/{release}",
            arches=tuple(sorted({offer.arch for offer in group}, key=arch_order)),
            size=sum({i.sha256: i.size for offer in group for i in offer.items}.values()),
        )
        for (os, release), group in groups.items()
    ]


def demand_known(name: str, arch: str) -> None:
    """Raise NotFound for an image that no source offers and none has brought."""
    os, _, release = name.partition("/")
    offered = select(BootSourceCache.id).where(
        BootSourceCache.os == os, BootSourceCache.release == release, BootSourceCache.arch == arch
    )
    stored = select(BootResource.id).where(
        BootResource.name == name,
        BootResource.arch == arch,
        BootResource.rtype == ResourceType.SYNCED,
    )
    if not db.session.scalar(select(or_(offered.exists(), stored.exists()))):
        raise NotFound(
            "No boot source offers this image.",
            where=f"{name} {arch}"[:200],
            next_step="See the images that can be selected.",
        )


def titles() -> dict[str, str]:
    """The title of every image on offer, by its name."""
    columns = (BootSourceCache.os, BootSourceCache.release, BootSourceCache.title)
    rows = db.session.execute(select(*columns).distinct())
    return {f"{os}/{release}": title for os, release, title in rows if title}
