# SPDX-License-Identifier: Apache-2.0
"""Later, and bytes of these tests."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from webapp.extensions import db, store
from webapp.models import (
    BootResource,
    ResourceSet,
    utcnow,
)

NOBLE, LOW = "ubuntu/noble amd64/ga-24.04", "ubuntu/noble amd64/ga-24.04-lowlatency"


def later(seconds: float) -> None:
    """Let time pass for everything that was retired."""
    past = utcnow() - timedelta(seconds=seconds)
    db.session.execute(
        update(ResourceSet).where(ResourceSet.retired_at.is_not(None)).values(retired_at=past)
    )
    db.session.commit()  # whoever publishes locks an image before its versions
    db.session.execute(select(BootResource.id).order_by(BootResource.id).with_for_update())
    db.session.execute(update(BootResource).values(updated_at=past))
    db.session.commit()


def digests() -> set[str]:
    return set(store().digests())
