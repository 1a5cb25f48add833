# SPDX-License-Identifier: Apache-2.0
"""What deleting images would do, without doing it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import false, func, or_, select

from webapp.extensions import db
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    BootSource,
    BootSourceCache,
    Event,
    ResourceFile,
    ResourceSet,
    utcnow,
)
from webapp.services.images.keys import Key, key_of
from webapp.services.imports import inventory
from webapp.services.sources import rules
from webapp.services.sources.rules import Effect
from webapp.streams.filters import is_wanted

RECENT = timedelta(days=7)


@dataclass(frozen=True)
class DeletePreview:
    """What deleting some images would do.

    frees: bytes that nothing else names; shared: bytes that stay for other images.
    comes_back: the names of those that a selection still asks for, so that the
    next import downloads them again. rules: titles of the rules that select one of them.
    used_by: machines that fetched one of them within the last week.
    """

    frees: int
    shared: int
    comes_back: tuple[str, ...]
    used_by: int
    rules: tuple[str, ...] = ()


def delete_preview(resource_ids: Collection[int]) -> DeletePreview:
    """Preview by the ids of boot resources; only reads, with a few queries in all."""
    named = select(ResourceFile.blob_id).join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
    mine = named.where(ResourceSet.resource_id.in_(resource_ids))
    others = named.where(ResourceSet.resource_id.not_in(resource_ids))
    held = select(func.coalesce(func.sum(Blob.size), 0)).where(
        Blob.id.in_(mine), Blob.state == BlobState.READY
    )
    resources = db.session.scalars(
        select(BootResource).where(BootResource.id.in_(resource_ids))
    ).all()
    ruled = rules.current()
    return DeletePreview(
        frees=int(db.session.scalar(held.where(Blob.id.not_in(others))) or 0),
        shared=int(db.session.scalar(held.where(Blob.id.in_(others))) or 0),
        comes_back=_wanted(resources, ruled),
        used_by=_used_by(resources),
        rules=_ruling(resources, ruled),
    )


def _wanted(resources: Collection[BootResource], ruled: Effect) -> tuple[str, ...]:
    keys = {Key(resource.name, resource.architecture) for resource in resources}
    asked = inventory.wanted(ruled)
    enabled = select(BootSource.id).where(BootSource.is_enabled)
    offers = inventory.offers(
        BootSourceCache.release.in_({resource.release for resource in resources}),
        BootSourceCache.source_id.in_(enabled),
    )
    return tuple(
        sorted(
            {
                " ".join(key_of(offer))
                for source_id, found in offers.items()
                for offer in found
                if key_of(offer) in keys and is_wanted(offer, asked[source_id])
            }
        )
    )


def _ruling(resources: Collection[BootResource], ruled: Effect) -> tuple[str, ...]:
    images = {(resource.os, resource.release, resource.arch) for resource in resources}
    return tuple(sorted({title for image in images for title in ruled.titles.get(image, ())}))


def _used_by(resources: Collection[BootResource]) -> int:
    """Machines are known by their addresses, images by the paths they fetched."""
    lines = {(resource.os, resource.arch, resource.release) for resource in resources}
    paths = [
        Event.subject.startswith(f"{os}/{arch}/", autoescape=True)
        & Event.subject.contains(f"/{release}/", autoescape=True)
        for os, arch, release in lines
    ]
    query = select(func.count(Event.actor.distinct())).where(
        Event.kind == "image.fetched", Event.at > utcnow() - RECENT, or_(false(), *paths)
    )
    return db.session.scalar(query) or 0
