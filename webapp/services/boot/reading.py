# SPDX-License-Identifier: Apache-2.0
"""Read the boot table with the images that it names."""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import ColumnElement, Connection, and_, exists, select
from sqlalchemy.orm import aliased

from webapp.models import (
    Blob,
    BlobState,
    BootEntry,
    BootResource,
    ImageRestriction,
    ResourceFile,
    ResourceSet,
)
from webapp.services.boot.choosing import INITRD, KERNEL, ROOT, Entry, StoredImage, Table
from webapp.services.boot.document import BootDocument
from webapp.services.boot.loaders import versions
from webapp.services.images.published import IS_KEPT_TO, image_path, restriction_of

_FILES = (KERNEL, INITRD, ROOT)


def read_document(connection: Connection) -> BootDocument:
    """What racks elsewhere need to know of what machines boot."""
    return BootDocument(read_table(connection), versions(connection))


def read_table(connection: Connection) -> Table:
    """The table and every stored image that it names, in two statements."""
    rows = connection.execute(
        select(
            BootEntry.machine,
            BootEntry.os,
            BootEntry.release,
            BootEntry.arch,
            BootEntry.subarch,
            BootEntry.parameters,
        )
    )
    images: dict[tuple[str, str, str], list[StoredImage]] = {}
    is_named = exists().where(
        BootEntry.os == BootResource.os,
        BootEntry.release == BootResource.release,
        BootEntry.arch == BootResource.arch,
    )
    for image in read_images(connection, is_named):
        images.setdefault((image.os, image.release, image.arch), []).append(image)
    return Table({row.machine: Entry(*row) for row in rows}, images)


def read_bootable(connection: Connection) -> list[StoredImage]:
    """The stored images that machines can boot now."""
    kernel = aliased(ResourceFile)
    has_kernel = exists().where(
        kernel.set_id == BootResource.current_set_id, kernel.ftype == KERNEL
    )
    images = read_images(connection, has_kernel)
    return [one for one in images if one.version and INITRD in one.files]


def read_images(connection: Connection, wanted: ColumnElement[bool]) -> list[StoredImage]:
    """Some stored images, with the files of their current versions that machines boot."""
    rows = connection.execute(
        select(
            BootResource.id,
            BootResource.os,
            BootResource.release,
            BootResource.arch,
            BootResource.subarch,
            BootResource.answers_to,
            BootResource.binned_at,
            ResourceSet.version,
            ResourceSet.label,
            ResourceFile.ftype,
            ResourceFile.filename,
            Blob.state,
            ImageRestriction.networks,
            ImageRestriction.macs,
        )
        .outerjoin(ImageRestriction, IS_KEPT_TO)
        .outerjoin(ResourceSet, ResourceSet.id == BootResource.current_set_id)
        .outerjoin(
            ResourceFile,
            and_(ResourceFile.set_id == ResourceSet.id, ResourceFile.ftype.in_(_FILES)),
        )
        .outerjoin(Blob, Blob.id == ResourceFile.blob_id)
        .where(BootResource.bootloader_type == "", wanted)
        .order_by(BootResource.id, ResourceFile.filename)
    )
    images = []
    for _, group in groupby(rows, key=lambda row: row.id):
        files = list(group)
        first = files[0]
        version = first.version or ""
        folder = (first.os, first.arch, first.subarch, first.release, first.label or "")
        images.append(
            StoredImage(
                os=first.os,
                release=first.release,
                arch=first.arch,
                subarch=first.subarch,
                answers_to=tuple(first.answers_to or ()),
                is_binned=first.binned_at is not None,
                version=version,
                folder=image_path(*folder, version=version) if version else "",
                files={row.ftype: row.filename for row in reversed(files) if row.ftype},
                damaged=frozenset(
                    row.ftype for row in files if row.ftype and row.state != BlobState.READY
                ),
                restriction=restriction_of(first.networks, first.macs),
            )
        )
    return images
