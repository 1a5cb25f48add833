# SPDX-License-Identifier: Apache-2.0
"""Numbers about the store and the settings of the start, as scripts and users read them."""

from __future__ import annotations

from importlib.metadata import version as _version
from typing import Any

from sqlalchemy import func, select

from webapp.extensions import db, settings, store
from webapp.models import OPEN_UPLOADS, Blob, BlobState, BootResource, Upload


def version() -> str:
    """The release of this Slipway."""
    return _version("slipway")


def images() -> int:
    """How many images machines can get, each with all its kernels; boot loaders aren't images."""
    found = select(BootResource.name, BootResource.arch).where(
        BootResource.current_set_id.is_not(None), BootResource.bootloader_type == ""
    )
    return db.session.scalar(select(func.count()).select_from(found.distinct().subquery())) or 0


def of_store() -> dict[str, Any]:
    """What the store holds: pieces and bytes, whole, unfinished and damaged."""
    states = {
        row.state: (row.count, int(row.size))
        for row in db.session.execute(
            select(
                Blob.state,
                func.count().label("count"),
                func.coalesce(func.sum(Blob.size), 0).label("size"),
            ).group_by(Blob.state)
        )
    }
    partials = list(store().partials())
    open_uploads = select(func.count()).select_from(Upload).where(Upload.state.in_(OPEN_UPLOADS))
    return {
        "kind": settings().store,
        "blobs": states.get(BlobState.READY, (0, 0))[0],
        "stored_bytes": states.get(BlobState.READY, (0, 0))[1],
        "free_bytes": store().free_bytes(),
        "unfinished_files": len(partials),
        "unfinished_bytes": sum(partial.received for partial in partials),
        "uploads_open": db.session.scalar(open_uploads) or 0,
        "damaged": states.get(BlobState.BAD, (0, 0))[0],
    }
