# SPDX-License-Identifier: Apache-2.0
"""Which images an import downloads before others."""

from __future__ import annotations

from sqlalchemy import delete, select

from webapp.extensions import db
from webapp.models import ImagePriority, Priority
from webapp.services.images.keys import Image
from webapp.services.sources import catalogue
from webapp.services.system import events, statements


def read() -> dict[Image, Priority]:
    """The images whose priority isn't normal."""
    rows = db.session.scalars(select(ImagePriority))
    return {Image(row.name, row.arch): Priority(row.priority) for row in rows}


def of(image: Image) -> Priority:
    """The priority of an image. Raises NotFound if no source offers or has brought it."""
    catalogue.demand_known(*image)
    row = db.session.get(ImagePriority, image)
    return Priority(row.priority) if row is not None else Priority.NORMAL


def change(image: Image, priority: Priority, actor: str) -> None:
    """Set the priority of an image, from the next import on. Raises NotFound."""
    catalogue.demand_known(*image)
    ours = (ImagePriority.name == image.name, ImagePriority.arch == image.arch)
    statements.execute(delete(ImagePriority).where(*ours))
    if priority != Priority.NORMAL:
        values = {"name": image.name, "arch": image.arch, "priority": priority}
        statements.execute(statements.insert_new(ImagePriority).values(**values))
    events.record("image.priority_changed", actor=actor, subject=str(image), priority=priority)
    db.session.commit()
