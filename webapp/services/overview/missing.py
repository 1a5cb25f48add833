# SPDX-License-Identifier: Apache-2.0
"""A region without images, of which machines can boot nothing (rule: no-images-yet)."""

from __future__ import annotations

from sqlalchemy import select

from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import BootResource, BootSource
from webapp.services.images import listing
from webapp.services.imports import runs
from webapp.services.racks import listing as racks


def problem() -> Problem | None:
    """What someone should see to, until the first image is stored; boot loaders don't count."""
    stored = select(BootResource.id).where(
        BootResource.current_set_id.is_not(None), BootResource.bootloader_type == ""
    )
    if db.session.scalar(stored.limit(1)) is not None:
        return None
    if holders := _holders():
        return Problem(
            f"Only racks hold images, this region has none: {', '.join(holders)}.",
            code="images-on-racks-only",
            next_step=_next_step(),
        )
    return Problem(
        "No images are stored yet, so machines can't boot any.",
        code="images-missing",
        next_step=_next_step(),
    )


def _holders() -> list[str]:
    """Racks that are seen and hold more than this region stores, e.g. its boot loaders."""
    stored = listing.stored_bytes()
    return [row.name for row in racks.all_racks() if not row.is_away and row.bytes > stored]


def _next_step() -> str:
    if runs.current() is not None:
        return "Wait for the import: see the page Imports or `slipway import watch`."
    if db.session.scalar(select(BootSource.id).limit(1)) is None:
        return "Add a boot source: `slipway source add URL`."
    return "Select images and start an import: `slipway import start`."
