# SPDX-License-Identifier: Apache-2.0
"""Locks: what an image or a version is protected by, and the refusal that names it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select

from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import BootResource, ResourceSet


class Locked(Problem):
    """It's locked, so nothing removes it."""

    code = "locked"


@dataclass(frozen=True, slots=True)
class Lock:
    """Why a boot resource may not be removed: a lock on it, or on one of its versions."""

    resource_id: int
    image: str
    version: str = ""

    @property
    def words(self) -> str:
        """For a plan: why something stays."""
        return f"version {self.version} is locked" if self.version else "locked"

    def refusal(self) -> Locked:
        """What to answer to whoever wants to remove it."""
        unlock = "Unlock the version first" if self.version else "Unlock the image first"
        return Locked(
            f"Version {self.version} of this image is locked."
            if self.version
            else "This image is locked.",
            where=self.image,
            next_step=f"{unlock}, then try again.",
        )


def of(resource_ids: Collection[int] | None = None) -> dict[int, Lock]:
    """The locks of these boot resources, or of all, one each; two queries."""
    images = select(BootResource.id, BootResource.name, BootResource.architecture).where(
        BootResource.locked_at.is_not(None)
    )
    versions = (
        select(BootResource.id, BootResource.name, BootResource.architecture, ResourceSet.version)
        .join(ResourceSet, ResourceSet.resource_id == BootResource.id)
        .where(ResourceSet.locked_at.is_not(None))
        .order_by(ResourceSet.id)
    )
    if resource_ids is not None:
        images = images.where(BootResource.id.in_(resource_ids))
        versions = versions.where(BootResource.id.in_(resource_ids))
    found = {
        row.id: Lock(row.id, f"{row.name} {row.architecture}", row.version)
        for row in db.session.execute(versions)
    }
    for row in db.session.execute(images):
        found[row.id] = Lock(row.id, f"{row.name} {row.architecture}")
    return found


def hold(resource_ids: Collection[int]) -> dict[int, Lock]:
    """The same, and nobody locks or unlocks them until the caller commits."""
    db.session.execute(
        select(BootResource.id)
        .where(BootResource.id.in_(resource_ids))
        .order_by(BootResource.id)
        .with_for_update()
    )
    return of(resource_ids)


def demand_none(resource_ids: Collection[int]) -> None:
    """Raise Locked if one of these may not be removed; held until the caller commits."""
    found = hold(resource_ids)
    if found:
        db.session.rollback()
        raise found[min(found)].refusal()
