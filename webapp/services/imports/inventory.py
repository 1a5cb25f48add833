# SPDX-License-Identifier: Apache-2.0
"""Read what planning works on out of the database and the store: a few queries in all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    BootSource,
    BootSourceCache,
    BootSourceSelection,
    ResourceFile,
    ResourceSet,
    ResourceType,
)
from webapp.services.imports.plans import (
    Plan,
    SourceState,
    Stock,
    StoredBlob,
    StoredResource,
    StoredSet,
)
from webapp.services.sources.selections import offer_of, wanted_of
from webapp.storage.base import BlobStore
from webapp.streams.mapping import Offer

_OFFER = [getattr(BootSourceCache, name) for name in Offer.__dataclass_fields__]


def sources(fresh: Collection[int]) -> list[SourceState]:
    """Every source with its catalogue; ``fresh`` are the ids of those that could be read."""
    offers: dict[int, list[Offer]] = defaultdict(list)
    rows: Iterable[Any] = db.session.execute(
        select(BootSourceCache.source_id, *_OFFER).order_by(BootSourceCache.id)
    )
    for row in rows:
        offers[row.source_id].append(offer_of(row))
    wanted = defaultdict(list)
    for selection in db.session.scalars(select(BootSourceSelection)):
        wanted[selection.source_id].append(wanted_of(selection))
    columns = (BootSource.id, BootSource.url, BootSource.priority, BootSource.is_enabled)
    return [
        SourceState(
            id=row.id,
            url=row.url,
            priority=row.priority,
            is_enabled=row.is_enabled,
            is_fresh=row.id in fresh,
            offers=tuple(offers[row.id]),
            wanted=tuple(wanted[row.id]),
        )
        for row in db.session.execute(select(*columns))
    ]


def stock(store: BlobStore) -> Stock:
    """Every image that machines can get, and every blob with what is there of it."""
    files: dict[int, dict[str, str]] = defaultdict(dict)
    for row in db.session.execute(
        select(ResourceFile.set_id, ResourceFile.filename, Blob.sha256)
        .join(Blob, Blob.id == ResourceFile.blob_id)
        .join(BootResource, BootResource.current_set_id == ResourceFile.set_id)
    ):
        files[row.set_id][row.filename] = row.sha256
    columns = (BootResource.id, BootResource.rtype, BootResource.source_id, BootResource.os,
               BootResource.release, BootResource.arch, BootResource.subarch, BootResource.kflavor,
               BootResource.title, BootResource.bootloader_type, BootResource.is_rolling,
               BootResource.subarches, BootResource.answers_to, BootResource.gone_since,
               BootResource.current_set_id, ResourceSet.version, ResourceSet.label)  # fmt: skip
    resources = tuple(
        StoredResource(
            id=row.id,
            source_id=row.source_id,
            os=row.os,
            release=row.release,
            arch=row.arch,
            subarch=row.subarch,
            kflavor=row.kflavor,
            title=row.title,
            bootloader_type=row.bootloader_type,
            is_rolling=row.is_rolling,
            is_uploaded=row.rtype == ResourceType.UPLOADED,
            subarches=tuple(row.subarches),
            answers_to=tuple(row.answers_to),
            gone_since=row.gone_since,
            current=StoredSet(row.version, row.label, files[row.current_set_id]),
        )
        for row in db.session.execute(
            select(*columns).join(ResourceSet, ResourceSet.id == BootResource.current_set_id)
        )
    )
    received = {partial.sha256: partial.received for partial in store.partials()}
    blobs = {
        row.sha256: StoredBlob(row.size, row.state == BlobState.READY, received.get(row.sha256, 0))
        for row in db.session.execute(select(Blob.sha256, Blob.size, Blob.state))
    }
    for sha256, count in received.items():
        # A partial is named by its digest alone; its size is whatever a stream says.
        blobs.setdefault(sha256, StoredBlob(size=-1, is_ready=False, received=count))
    return Stock(resources, blobs)


def checked(stock: Stock, plan: Plan, store: BlobStore) -> Stock:
    """The stock with the planned blobs as the store has them, whatever the rows say.

    Bytes without a ready row count as received and are verified instead of
    fetched; a ready row without its bytes does not count as ready.
    """
    blobs = dict(stock.blobs)
    for planned in plan.blobs:
        found = store.stat(planned.sha256)
        is_whole = found is not None and found.size == planned.size
        if planned.is_ready and not is_whole:
            blobs[planned.sha256] = StoredBlob(planned.size, is_ready=False)
        elif is_whole and not planned.is_ready:
            blobs[planned.sha256] = StoredBlob(planned.size, False, received=planned.size)
    return replace(stock, blobs=blobs)
