# SPDX-License-Identifier: Apache-2.0
"""Let versions go that no rule keeps: they're retired, and deleted after the grace time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Row, func, select, update

from webapp.extensions import db, settings
from webapp.models import BootResource, ResourceSet, ResourceType, utcnow
from webapp.services.images import keeping
from webapp.services.images.keeping import Policy, Version
from webapp.services.system import statements

_COLUMNS = (
    BootResource.id.label("resource_id"),
    BootResource.rtype,
    BootResource.keep_versions,
    BootResource.keep_days,
    BootResource.current_set_id,
    ResourceSet.id,
    ResourceSet.version,
    ResourceSet.locked_at,
    ResourceSet.completed_at,
    ResourceSet.fetched_at,
)


def policy_of(resource: Any) -> Policy:
    """What holds for an image (a row with its columns): its own numbers, or the settings."""
    is_uploaded = resource.rtype == ResourceType.UPLOADED
    default = settings().keep_uploads if is_uploaded else settings().keep_versions
    days = resource.keep_days
    return Policy(
        keep_versions=resource.keep_versions or default,
        keep_days=settings().keep_days if days is None else days,
    )


def as_version(row: Any, current_id: int | None) -> Version:
    """A complete version as the decision takes it."""
    return Version(
        id=row.id,
        version=row.version,
        is_current=row.id == current_id,
        is_locked=row.locked_at is not None,
        completed_at=row.completed_at,
        fetched_at=row.fetched_at,
    )


def retire_surplus(resource_ids: Sequence[int] | None = None) -> int:
    """Retire the surplus of these boot resources, or of all; the caller commits.

    Returns how many versions that were.
    """
    found = _surplus(resource_ids)
    if not found:
        return 0
    # Whoever makes another version current, or locks one, holds the image's row: decide
    # again when it's ours.
    ids = sorted(found)
    db.session.execute(
        select(BootResource.id)
        .where(BootResource.id.in_(ids))
        .order_by(BootResource.id)
        .with_for_update()
    )
    set_ids = [set_id for surplus in _surplus(ids).values() for set_id in surplus]
    return statements.count(
        update(ResourceSet).where(ResourceSet.id.in_(set_ids)).values(retired_at=utcnow())
    )


def _surplus(resource_ids: Sequence[int] | None) -> dict[int, list[int]]:
    """The ids of surplus versions by boot resource, at most CHUNK boot resources at a time."""
    is_live = (ResourceSet.completed_at.is_not(None), ResourceSet.retired_at.is_(None))
    several = (
        select(ResourceSet.resource_id)
        .where(*is_live)
        .group_by(ResourceSet.resource_id)
        .having(func.count() > 1)
    )
    query = (
        select(*_COLUMNS)
        .join(ResourceSet, ResourceSet.resource_id == BootResource.id)
        .where(BootResource.current_set_id.is_not(None), BootResource.id.in_(several), *is_live)
        .order_by(BootResource.id)
    )
    if resource_ids is not None:
        query = query.where(BootResource.id.in_(resource_ids))
    now = utcnow()
    found: dict[int, list[int]] = {}
    rows: Iterable[Row[Any]] = db.session.execute(query)
    for resource_id, group in groupby(rows, key=lambda row: row.resource_id):
        versions = list(group)
        surplus = keeping.surplus(
            [as_version(row, row.current_set_id) for row in versions],
            policy_of(versions[0]),
            now,
        )
        if surplus and len(found) < statements.CHUNK:
            found[resource_id] = surplus
    return found
