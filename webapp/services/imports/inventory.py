# SPDX-License-Identifier: Apache-2.0
"""Read what planning works on out of the database and the store: a few queries in all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, select

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
from webapp.services.blobs import checking, damage
from webapp.services.images import locks, priorities
from webapp.services.images.keys import Image, Key
from webapp.services.imports import hashing
from webapp.services.imports.plans import (
    Damaged,
    ImportPlan,
    Inventory,
    SourceState,
    StoredBlob,
    StoredResource,
    StoredSet,
)
from webapp.services.sources import naming, rules, soaking, steps
from webapp.services.sources.rules import Effect
from webapp.services.sources.selections import offer_of, wanted_of
from webapp.storage.base import BlobStore
from webapp.streams.filters import Wanted
from webapp.streams.mapping import Offer

_NAMES = [name for name in Offer.__dataclass_fields__ if name != "older"]  # large, rarely needed
_OFFER = [getattr(BootSourceCache, name) for name in _NAMES]


def sources(fresh: Collection[int], images: Collection[Image] | None = None) -> list[SourceState]:
    """Every source with its catalogue; ``fresh`` are the ids of those that could be read.

    images: what to read of the catalogues, None for all.
    """
    ruled = rules.current()
    asked = wanted(ruled)
    soaks = soaking.of_sources()
    pins = select(BootResource.id).where(BootResource.pinned_version != "").limit(1)
    needs_older = any(soaks.values()) or db.session.scalar(pins) is not None
    which = [] if images is None else [or_(false(), *map(_is_of, images))]
    offered = offers(*which, needs_older=needs_older)
    columns = (BootSource.id, BootSource.url, BootSource.name, BootSource.priority,
               BootSource.is_enabled)  # fmt: skip
    found = db.session.execute(select(*columns)).all()
    names = naming.titles((row.id, row.name, row.url) for row in found)
    return [
        SourceState(
            id=row.id,
            url=row.url,
            priority=row.priority,
            is_enabled=row.is_enabled,
            is_fresh=row.id in fresh,
            offers=tuple(offered[row.id]),
            name=names[row.id],
            soak=soaks[row.id],
            wanted=tuple(asked[row.id]),
            dropped=ruled.dropped.get(row.id, frozenset()),
        )
        for row in found
    ]


def _is_of(image: Image) -> ColumnElement[bool]:
    os, _, release = image.name.partition("/")
    return and_(
        BootSourceCache.os == os,
        BootSourceCache.release == release,
        BootSourceCache.arch == image.arch,
    )


def offers(
    *conditions: ColumnElement[bool], needs_older: bool = False
) -> defaultdict[int, list[Offer]]:
    """What is offered, by source; one query. needs_older: with older versions."""
    older = [BootSourceCache.older] if needs_older else []
    rows: Iterable[Any] = db.session.execute(
        select(BootSourceCache.source_id, *older, *_OFFER)
        .where(*conditions)
        .order_by(BootSourceCache.id)
    )
    found = defaultdict(list)
    for row in rows:
        found[row.source_id].append(offer_of(row))
    return found


def wanted(ruled: Effect) -> defaultdict[int, list[Wanted]]:
    """What selections and then rules ask for, by source; one query."""
    found = defaultdict(list)
    for selection in db.session.scalars(select(BootSourceSelection)):
        found[selection.source_id].append(wanted_of(selection))
    for source_id, more in ruled.wanted.items():
        found[source_id].extend(more)
    return found


def read(store: BlobStore) -> Inventory:
    """Every image that machines can get, and every blob with what is there of it."""
    sets, kept = _sets()
    locked = locks.of()
    columns = (BootResource.id, BootResource.rtype, BootResource.source_id, BootResource.os,
               BootResource.release, BootResource.arch, BootResource.subarch, BootResource.kflavor,
               BootResource.title, BootResource.bootloader_type, BootResource.is_rolling,
               BootResource.subarches, BootResource.answers_to, BootResource.gone_since,
               BootResource.current_set_id, BootResource.pinned_at,
               BootResource.pinned_version)  # fmt: skip
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
            current=sets[row.current_set_id],
            kept=tuple(sets[id] for id in kept[row.id] if id != row.current_set_id),
            is_pinned=row.pinned_at is not None,
            pinned_version=row.pinned_version,
            lock=locked[row.id].words if row.id in locked else "",
        )
        for row in db.session.execute(
            select(*columns).where(BootResource.current_set_id.is_not(None))
        )
    )
    received = {partial.sha256: partial.received for partial in store.partials()}
    blobs = {
        row.sha256: StoredBlob(row.size, row.state == BlobState.READY, received.get(row.sha256, 0))
        for row in db.session.execute(select(Blob.sha256, Blob.size, Blob.state))
    }
    for sha256, count in received.items():
        # A partial is named by its digest alone; its size is whatever a stream states.
        blobs.setdefault(sha256, StoredBlob(size=-1, is_ready=False, received=count))
    return Inventory(resources, blobs, damaged(), steps.bindings(), priorities.read())


def _sets() -> tuple[dict[int, StoredSet], dict[int, list[int]]]:
    """The current and kept versions by id, and their ids by boot resource; two queries."""
    is_kept = or_(
        ResourceSet.id == BootResource.current_set_id,
        and_(ResourceSet.completed_at.is_not(None), ResourceSet.retired_at.is_(None)),
    )
    of_image = BootResource.id == ResourceSet.resource_id
    files: dict[int, dict[str, str]] = defaultdict(dict)
    for row in db.session.execute(
        select(ResourceFile.set_id, ResourceFile.filename, Blob.sha256)
        .join(Blob, Blob.id == ResourceFile.blob_id)
        .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
        .join(BootResource, of_image)
        .where(BootResource.current_set_id.is_not(None), is_kept)
    ):
        files[row.set_id][row.filename] = row.sha256
    columns = (ResourceSet.id, ResourceSet.resource_id, ResourceSet.version, ResourceSet.label)
    sets: dict[int, StoredSet] = {}
    kept: dict[int, list[int]] = defaultdict(list)
    rows: Iterable[Any] = db.session.execute(
        select(*columns, ResourceSet.locked_at)
        .join(BootResource, of_image)
        .where(BootResource.current_set_id.is_not(None), is_kept)
        .order_by(ResourceSet.id.desc())
    )
    for row in rows:
        is_locked = row.locked_at is not None
        sets[row.id] = StoredSet(row.version, row.label, files[row.id], is_locked)
        kept[row.resource_id].append(row.id)
    return sets, kept


def checked(
    inventory: Inventory, plan: ImportPlan, store: BlobStore, is_stopped: Callable[[], bool]
) -> Inventory:
    """The inventory as the store really has it, whatever the rows say.

    Every file that images name or the plan needs is compared with its size and mtime,
    and hashed where its mtime changed; what is bad is marked so, and planned again.
    Bytes without a ready row count as received and are verified instead of fetched.
    Raises Stopped.
    """
    blobs = dict(inventory.blobs)
    named = {
        sha256
        for resource in inventory.resources
        for stored in (resource.current, *resource.kept)
        for sha256 in stored.files.values()
    }
    needed = {blob.sha256: blob.size for blob in plan.blobs}
    there = {found.sha256: found for found in store.stats()}
    ready = [blob for blob in checking.known_blobs() if blob.sha256 in named | needed.keys()]
    db.session.commit()
    for blob in ready:
        found = there.get(blob.sha256) or store.stat(blob.sha256)
        fault = damage.fault_of(blob, found, store, hashing.until(is_stopped))
        if fault is not None:
            checking.note_fault(blob, fault, "worker")
            blobs[blob.sha256] = StoredBlob(blob.size, is_ready=False)
        elif found is not None and blob.mtime_ns not in (None, found.mtime_ns):  # was hashed
            checking.note_good(blob, found.mtime_ns)
    for sha256, size in needed.items():
        found = there.get(sha256)
        is_ready = sha256 in blobs and blobs[sha256].is_ready
        if found is not None and found.size == size and not is_ready:
            blobs[sha256] = StoredBlob(size, False, received=size)
    return replace(inventory, blobs=blobs, damaged=damaged())


def damaged() -> tuple[Damaged, ...]:
    """The bad blobs that versions name; one row for each file."""
    columns = (
        Blob.sha256,
        Blob.size,
        BootResource.name,
        BootResource.architecture,
        ResourceSet.version,
        ResourceFile.filename,
    )
    query = (
        select(*columns)
        .join(ResourceFile, ResourceFile.blob_id == Blob.id)
        .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
        .join(BootResource, BootResource.id == ResourceSet.resource_id)
        .where(Blob.state == BlobState.BAD)
        .order_by(Blob.sha256, ResourceSet.id.desc())
    )
    return tuple(
        Damaged(row.sha256, row.size, Key(row.name, row.architecture), row.version, row.filename)
        for row in db.session.execute(query)
    )
