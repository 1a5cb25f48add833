# SPDX-License-Identifier: Apache-2.0
"""The boot resource that an upload becomes a version of, and what that version is called."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import BootResource, ResourceSet, ResourceType, Upload, utcnow
from webapp.services.system import statements
from webapp.services.uploads import names


def resource_of(upload: Upload) -> BootResource:
    """The boot resource of an upload, made again if it was deleted. The caller commits."""
    os, slash, release = upload.name.partition("/")
    name = names.ImageName(os, release) if slash else names.ImageName("", os)
    return resource_named(name, upload.architecture)


def resource_named(name: names.ImageName, architecture: str) -> BootResource:
    """The uploaded boot resource of this name, made where there is none. Raises InvalidFields.

    Its row is held until the caller commits: of several that begin at once, each
    sees the versions of those before it.
    """
    query = select(BootResource).where(
        BootResource.name == name.full, BootResource.architecture == architecture
    )
    found = db.session.scalar(query)
    if found is None:
        _make(name, architecture)
        found = db.session.scalars(query).one()
    if found.rtype != ResourceType.UPLOADED:
        raise InvalidFields(
            {"name": [f"{name.full} is a reserved name: an image of a boot source has it."]}
        )
    found.updated_at = utcnow()  # clean-up leaves it alone
    db.session.flush()
    return found


def _make(name: names.ImageName, architecture: str) -> None:
    """Make the row, unless another request just did."""
    arch, _, subarch = architecture.partition("/")
    statements.execute(
        statements.insert_new(BootResource).values(
            rtype=ResourceType.UPLOADED,
            name=name.full,
            architecture=architecture,
            os=name.os,
            release=name.release,
            arch=arch,
            subarch=subarch,
            subarches=[subarch],
            answers_to=[],
        )
    )


def next_version(resource: BootResource) -> str:
    """A version for today, never one that this name had before: clients cache by it."""
    stored = select(ResourceSet.version).where(ResourceSet.resource_id == resource.id)
    sent = select(Upload.version).where(
        Upload.name == resource.name, Upload.architecture == resource.architecture
    )
    existing = [*db.session.scalars(stored), *db.session.scalars(sent)]
    return names.next_version(datetime.now(UTC).date(), existing)
