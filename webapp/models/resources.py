# SPDX-License-Identifier: Apache-2.0
"""Images as we hold them: boot resource, resource set, resource file, blob."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.models.base import Base, utcnow


class ResourceType(enum.StrEnum):
    """Where a boot resource came from; MAAS prints these words capitalised."""

    SYNCED = "synced"
    UPLOADED = "uploaded"


class BootResource(Base):
    """One stored image: ``os/release`` for ``arch/subarch`` (rule: resource-names).

    ``subarch`` carries a non-generic kernel flavour (``ga-24.04-lowlatency``).
    ``current_set_id`` is the publication: machines get that set and no other
    until this one column changes. A pin holds whatever version is current, so the two
    can't disagree; only ``pinned_version``, when it's set, is still to come. While an image
    is in the bin its pin waits with it.
    """

    __tablename__ = "boot_resource"
    __table_args__ = (UniqueConstraint("name", "architecture"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    rtype: Mapped[str] = mapped_column(default=ResourceType.SYNCED)
    name: Mapped[str]
    architecture: Mapped[str]
    os: Mapped[str] = mapped_column(index=True)
    release: Mapped[str]
    arch: Mapped[str]
    subarch: Mapped[str]
    kflavor: Mapped[str] = mapped_column(default="")
    title: Mapped[str] = mapped_column(default="")
    bootloader_type: Mapped[str] = mapped_column(default="")
    base_image: Mapped[str] = mapped_column(default="")
    product: Mapped[str] = mapped_column(default="")  # its name in the stream it came from
    # What that stream says of it as well: release_title, release_version, support_eol ...
    stream_fields: Mapped[dict[str, Any]] = mapped_column(default=dict)
    is_rolling: Mapped[bool] = mapped_column(default=False)
    subarches: Mapped[list[str]] = mapped_column(default=list)
    answers_to: Mapped[list[str]] = mapped_column(default=list)
    source_id: Mapped[int | None] = mapped_column(
        ForeignKey("boot_source.id", ondelete="SET NULL"), index=True
    )
    current_set_id: Mapped[int | None] = mapped_column(
        ForeignKey("resource_set.id", ondelete="SET NULL", use_alter=True), index=True
    )
    gone_since: Mapped[datetime | None]  # upstream stopped offering it
    pinned_at: Mapped[datetime | None]  # imports leave the current version as it is
    # The version that the next import fetches and leaves there; "" for the current one.
    pinned_version: Mapped[str] = mapped_column(default="", server_default="")
    locked_at: Mapped[datetime | None]  # nothing may remove the image
    keep_versions: Mapped[int | None]  # instead of the settings for all images
    keep_days: Mapped[int | None]
    binned_at: Mapped[datetime | None]  # it's in the bin since then
    binned_set_id: Mapped[int | None]  # what was current; no key: it may be gone
    binned_why: Mapped[str] = mapped_column(default="")
    binned_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)

    sets: Mapped[list[ResourceSet]] = relationship(
        back_populates="resource",
        cascade="all, delete-orphan",
        passive_deletes=True,
        foreign_keys="ResourceSet.resource_id",
    )
    current_set: Mapped[ResourceSet | None] = relationship(
        foreign_keys=[current_set_id], post_update=True
    )


class Priority(enum.StrEnum):
    """When an image is downloaded: before or after the others of an import."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class ImagePriority(Base):
    """The priority of an image, stored or not, that isn't normal. name: ``os/release``."""

    __tablename__ = "image_priority"

    name: Mapped[str] = mapped_column(primary_key=True)
    arch: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[str]


class ImageRestriction(Base):
    """To whom an image is kept, stored or not; without a row it's for everyone.

    os: ``custom`` for uploads without one. networks, macs: see streams.restrictions.
    revision: the publication's serial with which it was saved.
    """

    __tablename__ = "image_restriction"

    os: Mapped[str] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(primary_key=True)
    arch: Mapped[str] = mapped_column(primary_key=True)
    networks: Mapped[list[str]] = mapped_column(default=list)
    macs: Mapped[list[str]] = mapped_column(default=list)
    note: Mapped[str] = mapped_column(default="")
    revision: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)
    updated_by: Mapped[str] = mapped_column(default="")


class ResourceSet(Base):
    """One version of a boot resource with its label.

    ``completed_at`` is set in the transaction that saw all its blobs ready. Older
    versions stay and can be current again until ``retired_at`` is set: then it is no
    longer listed, but machines that pinned it may finish until the grace time is over.
    """

    __tablename__ = "resource_set"
    __table_args__ = (UniqueConstraint("resource_id", "version", "label"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    resource_id: Mapped[int] = mapped_column(
        ForeignKey("boot_resource.id", ondelete="CASCADE"), index=True
    )
    version: Mapped[str]
    label: Mapped[str]
    is_unsigned: Mapped[bool] = mapped_column(default=False)
    signer_fingerprint: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    completed_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    is_binned: Mapped[bool] = mapped_column(default=False)  # retired with its image, to the bin
    locked_at: Mapped[datetime | None]  # nothing may remove this version
    fetched_at: Mapped[datetime | None]  # a machine fetched one of its files
    packages_sha256: Mapped[str] = mapped_column(default="", index=True)  # of its PackageList

    resource: Mapped[BootResource] = relationship(back_populates="sets", foreign_keys=[resource_id])
    files: Mapped[list[ResourceFile]] = relationship(
        back_populates="resource_set", cascade="all, delete-orphan", passive_deletes=True
    )


class ResourceFile(Base):
    """A named file of a set; its bytes are the blob with the same sha256."""

    __tablename__ = "resource_file"
    __table_args__ = (UniqueConstraint("set_id", "filename"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    set_id: Mapped[int] = mapped_column(
        ForeignKey("resource_set.id", ondelete="CASCADE"), index=True
    )
    blob_id: Mapped[int] = mapped_column(ForeignKey("blob.id", ondelete="RESTRICT"), index=True)
    filename: Mapped[str]
    ftype: Mapped[str]
    extra: Mapped[dict[str, Any]] = mapped_column(default=dict)  # kpackage, src_package ...

    resource_set: Mapped[ResourceSet] = relationship(back_populates="files")
    blob: Mapped[Blob] = relationship(back_populates="files")


class PackageList(Base):
    """The packages inside an image, as its stream lists them: zlib of the text, by its sha256."""

    __tablename__ = "package_list"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes]
    stored_at: Mapped[datetime] = mapped_column(default=utcnow)


class BlobState(enum.StrEnum):
    """What is known of a blob's bytes."""

    WANTED = "wanted"  # nothing is stored yet, or only a part
    READY = "ready"  # whole and verified
    BAD = "bad"  # found damaged; never served
    DELETING = "deleting"  # nothing names it, and its bytes are going
    STRAY = "stray"  # bytes found without a row; not verified


class BlobFault(enum.StrEnum):
    """What is wrong with the bytes of a bad blob."""

    MISSING = "missing"
    SIZE = "size"
    CONTENT = "content"
    UNREADABLE = "unreadable"


class Blob(Base):
    """Bytes stored once, by sha256. Only a ready one may be named by a published set."""

    __tablename__ = "blob"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default=BlobState.WANTED, index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    verified_at: Mapped[datetime | None]
    # When the bytes were last hashed and right, and BlobStat.mtime_ns at that moment.
    checked_at: Mapped[datetime | None] = mapped_column(index=True)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    fault: Mapped[str] = mapped_column(default="")  # of a bad one: a word of BlobFault

    files: Mapped[list[ResourceFile]] = relationship(back_populates="blob")
