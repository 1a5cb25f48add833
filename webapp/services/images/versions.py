# SPDX-License-Identifier: Apache-2.0
"""The versions of an image: which one machines get, and what stays beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.models import (
    BootResource,
    BootSource,
    BootSourceCache,
    ResourceFile,
    ResourceSet,
    utcnow,
)
from webapp.services.images import keeping, locks, publishing
from webapp.services.images.keys import CUSTOM
from webapp.services.system import events


def ids_of(os: str, release: str, arch: str, kernel: str = "") -> list[int]:
    """The boot resources of an image as links name it: of all kernels, or of one. NotFound."""
    names = (f"{os}/{release}", release) if os == CUSTOM else (f"{os}/{release}",)
    query = select(BootResource.id).where(
        BootResource.name.in_(names),
        BootResource.arch == arch,
        BootResource.current_set_id.is_not(None),
    )
    if kernel:
        query = query.where(BootResource.subarch == kernel)
    found = list(db.session.scalars(query.order_by(BootResource.id)))
    if not found:
        raise NotFound(
            "Image not found.",
            where=f"{os}/{release} {arch}{'/' + kernel if kernel else ''}"[:200],
            next_step="It may have been deleted. See the list of images.",
        )
    return found


def of(resource_id: int) -> Sequence[ResourceSet]:
    """The whole versions that can be the current one, the newest first, with their files."""
    return of_several([resource_id]).get(resource_id, [])


def of_several(resource_ids: Collection[int]) -> dict[int, list[ResourceSet]]:
    """The same for several boot resources, in a few queries in all."""
    rows = db.session.scalars(
        select(ResourceSet)
        .where(
            ResourceSet.resource_id.in_(resource_ids),
            ResourceSet.completed_at.is_not(None),
            ResourceSet.retired_at.is_(None),
        )
        .options(selectinload(ResourceSet.files).selectinload(ResourceFile.blob))
        .execution_options(populate_existing=True)
    )
    found: dict[int, list[ResourceSet]] = {}
    for row in sorted(rows, key=lambda one: keeping.order(one.version, one.id), reverse=True):
        found.setdefault(row.resource_id, []).append(row)
    return found


def count_older() -> int:
    """How many versions stay beside the current ones and aren't locked."""
    query = (
        select(func.count())
        .select_from(ResourceSet)
        .join(BootResource, BootResource.id == ResourceSet.resource_id)
        .where(
            BootResource.current_set_id != ResourceSet.id,
            ResourceSet.completed_at.is_not(None),
            ResourceSet.retired_at.is_(None),
            ResourceSet.locked_at.is_(None),
        )
    )
    return db.session.scalar(query) or 0


def held(resource_ids: Collection[int]) -> list[BootResource]:
    """Images that machines can get, held until the caller commits. Raises NotFound."""
    found = db.session.scalars(
        select(BootResource)
        .where(BootResource.id.in_(resource_ids), BootResource.current_set_id.is_not(None))
        .order_by(BootResource.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if not found or len(found) < len(set(resource_ids)):
        missing = set(resource_ids) - {resource.id for resource in found}
        raise NotFound(
            "Image not found.",
            where=f"boot resource {min(missing, default=0)}",
            next_step="It may have been deleted. See the list of images.",
        )
    return list(found)


def offered(resources: Collection[BootResource]) -> dict[str, set[int]]:
    """The versions that enabled sources offer, newest first, with the ids that they're for."""
    ids = {(one.os, one.release, one.arch, one.subarch): one.id for one in resources}
    cache = BootSourceCache
    rows = db.session.execute(
        select(cache.os, cache.release, cache.arch, cache.subarch, cache.version, cache.versions)
        .join(BootSource, BootSource.id == cache.source_id)
        .where(BootSource.is_enabled, cache.release.in_({one.release for one in resources}))
    )
    found: dict[str, set[int]] = {}
    for *name, newest, others in rows:
        if (id := ids.get(tuple(name))) is not None:
            for version in {newest, *others}:
                found.setdefault(version, set()).add(id)
    return dict(sorted(found.items(), key=lambda one: keeping.order(one[0], 0), reverse=True))


def chosen(
    resources: Sequence[BootResource],
    kept: dict[int, list[ResourceSet]],
    version: str,
    coming: Collection[int] = (),
) -> dict[int, ResourceSet]:
    """The sets of a version by boot resource; some kernels may lack it.

    coming: the ids of those that may. Raises NotFound if all others lack it.
    """
    found = {
        resource.id: one
        for resource in resources
        for one in kept.get(resource.id, ())
        if one.version == version
    }
    if not found and not coming:
        names = dict.fromkeys(one.version for sets in kept.values() for one in sets)
        raise NotFound(
            "This version isn't stored.",
            where=f"{resources[0].name} {version[:60]}",
            next_step=f"Choose one of these: {', '.join(names)}.",
        )
    return found


def delete(resource_ids: Collection[int], version: str, actor: str) -> None:
    """Remove a version that is not the current one; its bytes go after the grace time.

    Of an image with several kernels, it goes from all that have it, or from none.
    Raises NotFound, Conflict, Locked.
    """
    resources = held(resource_ids)
    found = chosen(resources, of_several([resource.id for resource in resources]), version)
    for resource in resources:
        if resource.id in found:
            _remove(resource, found[resource.id], actor)
    publishing.bump()
    db.session.commit()


def _remove(resource: BootResource, one: ResourceSet, actor: str) -> None:
    name = f"{resource.name} {resource.architecture}"
    if resource.current_set_id == one.id:
        raise Conflict(
            "This version is in use.",
            where=f"{name} {one.version}",
            next_step="Make another version current first, or delete the image.",
        )
    if resource.locked_at or one.locked_at:
        raise locks.Lock(resource.id, name, one.version if one.locked_at else "").refusal()
    one.retired_at = utcnow()
    events.record("image.version_removed", actor=actor, subject=name, version=one.version)
