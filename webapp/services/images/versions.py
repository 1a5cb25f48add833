# SPDX-License-Identifier: Apache-2.0
"""The versions of an uploaded image: which one machines get, and what stays beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.models import BootResource, ResourceFile, ResourceSet, ResourceType, utcnow
from webapp.services.images import publishing
from webapp.services.system import events


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
        .order_by(ResourceSet.version.desc())
        .options(selectinload(ResourceSet.files).selectinload(ResourceFile.blob))
    )
    found: dict[int, list[ResourceSet]] = {}
    for row in rows:
        found.setdefault(row.resource_id, []).append(row)
    return found


def make_current(resource_id: int, version: str, actor: str) -> ResourceSet:
    """Let machines get this version from now on: roll back, or forward again.

    Raises NotFound, and Conflict for an image of a boot source, whose version the source decides.
    """
    resource, chosen = _locked(resource_id, version)
    if resource.current_set_id == chosen.id:
        return chosen
    before = next((s.version for s in resource.sets if s.id == resource.current_set_id), "")
    resource.current_set_id = chosen.id
    publishing.bump()
    events.record(
        "image.rolled_back" if version < before else "image.rolled_forward",
        actor=actor,
        subject=f"{resource.name} {resource.architecture}",
        version=version,
        before=before,
    )
    db.session.commit()
    return chosen


def delete(resource_id: int, version: str, actor: str) -> None:
    """Remove one version that is not the current one; its bytes go after the grace time.

    Raises NotFound, Conflict.
    """
    resource, chosen = _locked(resource_id, version)
    if resource.current_set_id == chosen.id:
        raise Conflict(
            "This version is in use.",
            where=f"{resource.name} {version}",
            next_step="Make another version current first, or delete the image.",
        )
    chosen.retired_at = utcnow()
    publishing.bump()
    events.record(
        "image.version_removed",
        actor=actor,
        subject=f"{resource.name} {resource.architecture}",
        version=version,
    )
    db.session.commit()


def _locked(resource_id: int, version: str) -> tuple[BootResource, ResourceSet]:
    resource = db.session.scalar(
        select(BootResource)
        .where(BootResource.id == resource_id, BootResource.current_set_id.is_not(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if resource is None:
        raise NotFound("Image not found.", where=f"boot resource {resource_id}")
    if resource.rtype != ResourceType.UPLOADED:
        raise Conflict(
            "The versions of this image come from a boot source.",
            where=resource.name,
            next_step="Only uploaded images can be rolled back.",
        )
    chosen = next((s for s in of(resource_id) if s.version == version), None)
    if chosen is None:
        raise NotFound(
            "Version not found.",
            where=f"{resource.name} {version[:60]}",
            next_step="It may have been removed. See the list of versions.",
        )
    return resource, chosen
