# SPDX-License-Identifier: Apache-2.0
"""Remove images for good: what machines get of them, and what is being uploaded to them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import BootResource
from webapp.services.blobs import retention
from webapp.services.images import locks
from webapp.services.uploads import uploads


def remove(resource_ids: Collection[int], actor: str) -> None:
    """Take images away from machines at once; they go to the bin.

    Raises NotFound when there is nothing of one of them, Conflict while an upload
    to one of them is being checked, Locked.
    """
    locks.demand_none(resource_ids)
    db.session.commit()
    coming = uploads.open_of(resource_ids)
    served = set(
        db.session.scalars(
            select(BootResource.id).where(
                BootResource.id.in_(resource_ids), BootResource.current_set_id.is_not(None)
            )
        )
    )
    wanted = served | (set(resource_ids) - {upload.resource_id for upload in coming})
    for upload in coming:
        uploads.drop(upload, actor)
    if wanted:
        retention.delete_resources(sorted(wanted), actor)
