# SPDX-License-Identifier: Apache-2.0
"""Images that are really there: rows as an import leaves them, and bytes in the store.

All functions work inside an app context of whatever plane.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from tests.support import factories
from webapp.extensions import db, store
from webapp.models import Blob, BootResource, ResourceFile, ResourceSet, utcnow
from webapp.services.images import publishing

FILES = {"boot-kernel": b"kernel 1", "boot-initrd": b"initrd 1", "squashfs": b"root 1"}


def stored(content: bytes) -> Blob:
    """Put bytes into the store and name them in the database, once."""
    sha256 = hashlib.sha256(content).hexdigest()
    known = db.session.scalar(select(Blob).where(Blob.sha256 == sha256))
    if store().stat(sha256) is None:
        with store().writer(sha256, len(content)) as writer:
            writer.write(content)
            writer.commit()
    return known or factories.saved(Blob(sha256=sha256, size=len(content), state="ready"))


def image(files: Mapping[str, bytes] | None = None, **values: Any) -> BootResource:
    """Publish an image; ``version``, ``label`` and ``completed_at`` go to its set."""
    of_set = {k: values.pop(k) for k in ("version", "label", "completed_at") if k in values}
    names = {"os": "ubuntu", "release": "noble", "arch": "amd64", "subarch": "ga-24.04"}
    names |= {key: value for key, value in values.items() if key in names}
    resource = factories.saved(
        BootResource(
            **{
                "name": f"{names['os']}/{names['release']}",
                "architecture": f"{names['arch']}/{names['subarch']}",
                "answers_to": ["generic", names["subarch"]],
                **names,
                **values,
            }
        )
    )
    switch(resource, FILES if files is None else files, **of_set)
    return resource


def switch(
    resource: BootResource,
    files: Mapping[str, bytes],
    *,
    version: str = "20260105",
    label: str = "stable",
    completed_at: datetime | None = None,
) -> ResourceSet:
    """Publish a version in place of the current one, as an import does: in one transaction."""
    blobs = {name: stored(content) for name, content in files.items()}
    new = ResourceSet(
        resource_id=resource.id,
        version=version,
        label=label,
        completed_at=completed_at or utcnow(),
    )
    new.files = [
        ResourceFile(blob_id=blob.id, filename=name, ftype=name.partition(".")[0])
        for name, blob in blobs.items()
    ]
    db.session.add(new)
    db.session.flush()
    if resource.current_set_id is not None:
        db.session.execute(
            update(ResourceSet)
            .where(ResourceSet.id == resource.current_set_id)
            .values(retired_at=utcnow())
        )
    resource.current_set_id = new.id
    publish()
    return new


def publish() -> None:
    """Commit, with the serial that tells racks to look."""
    publishing.bump()
    db.session.commit()
