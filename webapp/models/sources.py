# SPDX-License-Identifier: Apache-2.0
"""Boot sources, the signed documents they gave us, what they offer, what is selected."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, deferred, mapped_column, relationship

from webapp.models.base import Base, utcnow


class BootSource(Base):
    """A simplestreams mirror: URL, keyring, priority.

    Exactly one of ``keyring_filename`` and ``keyring_data`` is set, unless someone
    agreed to ``is_unsigned`` (rule: one-keyring). The ``error_*``
    columns describe the last refresh only (rule: errors-clear-themselves).
    """

    __tablename__ = "boot_source"
    __table_args__ = (
        CheckConstraint(
            "is_unsigned OR ((keyring_filename = '') <> (keyring_data IS NULL))",
            name="one_keyring",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(default="")
    priority: Mapped[int] = mapped_column(default=0)  # the higher one wins
    is_enabled: Mapped[bool] = mapped_column(default=True)
    # When imports read it, as services.system.schedules has it; "" with all the others.
    schedule: Mapped[str] = mapped_column(default="", server_default="")
    imported_at: Mapped[datetime | None]  # when an import last read it, or tried to
    soak_days: Mapped[int | None]  # how old its versions must be; None: as the setting has it
    keyring_filename: Mapped[str] = mapped_column(default="")
    keyring_data: Mapped[bytes | None] = mapped_column(LargeBinary)
    is_unsigned: Mapped[bool] = mapped_column(default=False)

    # Further addresses of the same signed stream, and what was measured of all of them.
    mirrors: Mapped[list[str]] = mapped_column(default=list)
    mirror_speeds: Mapped[list[dict[str, Any]]] = mapped_column(default=list)

    proxy_url: Mapped[str] = mapped_column(default="")  # as it may be shown
    proxy_login: Mapped[str] = mapped_column(default="")  # encrypted, see services.system.secrets
    is_direct: Mapped[bool] = mapped_column(default=False)  # without a proxy, even one for all
    ca_file: Mapped[str] = mapped_column(default="")
    client_cert: Mapped[str] = mapped_column(default="", server_default="")  # PEM, with its chain
    client_key: Mapped[str] = mapped_column(default="", server_default="")  # encrypted
    client_cert_ends_at: Mapped[datetime | None]
    auth_kind: Mapped[str] = mapped_column(default="none")  # none, basic, bearer
    auth_username: Mapped[str] = mapped_column(default="")
    auth_secret: Mapped[str] = mapped_column(default="")  # encrypted too
    auth_in_clear: Mapped[bool] = mapped_column(default=False)  # it may go over http://

    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)
    checked_at: Mapped[datetime | None]  # last refresh that was tried
    refreshed_at: Mapped[datetime | None]  # last refresh that succeeded
    index_updated_at: Mapped[datetime | None]  # as the index itself states
    signed_at: Mapped[datetime | None]
    signer_fingerprint: Mapped[str] = mapped_column(default="")
    # Parts of the stream that aren't used, as streams.offers.Skipped.as_dict.
    left_out: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # What the last refresh warned of, as Problem.as_dict, apart from what is left out or old.
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # What the publisher announces, as streams.offers.Notification.as_dict.
    notices: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # Products on which the index and the documents may disagree (rule: no-going-back).
    confirmed_products: Mapped[list[str]] = mapped_column(default=list)
    # Those on which they disagreed at the last refresh, as streams.errors.Disagreement has them.
    differences: Mapped[list[dict[str, Any]]] = mapped_column(default=list)

    error_code: Mapped[str] = mapped_column(default="")
    error_what: Mapped[str] = mapped_column(default="")
    error_where: Mapped[str] = mapped_column(default="")
    error_expected: Mapped[str] = mapped_column(default="")
    error_got: Mapped[str] = mapped_column(default="")
    error_next_step: Mapped[str] = mapped_column(default="")

    selections: Mapped[list[BootSourceSelection]] = relationship(
        back_populates="source", cascade="all, delete-orphan", passive_deletes=True
    )
    documents: Mapped[list[StreamDocument]] = relationship(
        back_populates="source", cascade="all, delete-orphan", passive_deletes=True
    )


class HiddenNotice(Base):
    """What a publisher announces, hidden by one person until some time.

    user_id: None for the command line on this machine, which has no account.
    """

    __tablename__ = "hidden_notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("user.id", ondelete="CASCADE"), index=True
    )
    source_id: Mapped[int] = mapped_column(
        ForeignKey("boot_source.id", ondelete="CASCADE"), index=True
    )
    digest: Mapped[str]  # of the version and the message
    until: Mapped[datetime]


class StreamDocument(Base):
    """A metadata file exactly as it was signed, with what a conditional GET needs.

    ``updated_at`` is the document's own claim and never goes back; the bytes are kept
    to publish again and to prove (rule: no-going-back).
    """

    __tablename__ = "stream_document"
    __table_args__ = (UniqueConstraint("source_id", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(
        ForeignKey("boot_source.id", ondelete="CASCADE"), index=True
    )
    path: Mapped[str]  # below the source's root, e.g. streams/v1/index.sjson
    content_id: Mapped[str] = mapped_column(default="")  # "" for the index
    content: Mapped[bytes] = deferred(mapped_column(LargeBinary))
    sha256: Mapped[str]
    etag: Mapped[str] = mapped_column(default="")
    last_modified: Mapped[str] = mapped_column(default="")
    updated_at: Mapped[datetime | None]
    signed_at: Mapped[datetime | None]
    signer_fingerprint: Mapped[str] = mapped_column(default="")
    fetched_at: Mapped[datetime] = mapped_column(default=utcnow)

    source: Mapped[BootSource] = relationship(back_populates="documents")


class BootSourceCache(Base):
    """One product that a source offers: its newest version with all its items.

    ``subarch`` is the product's own; ``answers_to`` are the names that a
    machine may ask for and that this product serves (rule: kernel-names).
    ``items`` are the files worth storing, as ``streams.mapping.Item.as_dict``.
    """

    __tablename__ = "boot_source_cache"
    __table_args__ = (
        UniqueConstraint("source_id", "os", "arch", "subarch", "release", "kflavor", "label"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(
        ForeignKey("boot_source.id", ondelete="CASCADE"), index=True
    )
    product: Mapped[str]
    os: Mapped[str] = mapped_column(index=True)
    arch: Mapped[str]
    subarch: Mapped[str]
    release: Mapped[str]
    kflavor: Mapped[str] = mapped_column(default="")
    label: Mapped[str] = mapped_column(default="")
    version: Mapped[str]  # serial of the newest version
    size: Mapped[int] = mapped_column(BigInteger)
    title: Mapped[str] = mapped_column(default="")
    release_title: Mapped[str] = mapped_column(default="")
    release_codename: Mapped[str] = mapped_column(default="")
    release_version: Mapped[str] = mapped_column(default="")  # "24.04"
    support_eol: Mapped[date | None]
    support_esm_eol: Mapped[date | None]
    bootloader_type: Mapped[str] = mapped_column(default="")
    is_rolling: Mapped[bool] = mapped_column(default=False)
    subarches: Mapped[list[str]] = mapped_column(default=list)
    answers_to: Mapped[list[str]] = mapped_column(default=list)
    items: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    package_list: Mapped[dict[str, Any]] = mapped_column(default=dict)  # an item too, if any
    # The versions before the newest, as streams.offers.Build.as_dict; large, so lists leave it out.
    older: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    # Every version, newest first, with when it was first seen here; "" where its name has a date.
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)


class ImageSoak(Base):
    """How old versions of an image must be, whichever source they come from (rule: soak-time)."""

    __tablename__ = "image_soak"

    name: Mapped[str] = mapped_column(primary_key=True)
    arch: Mapped[str] = mapped_column(primary_key=True)
    days: Mapped[int]


class BootSourceSelection(Base):
    """What to download from a source (rule: one-selection-per-release)."""

    __tablename__ = "boot_source_selection"
    __table_args__ = (UniqueConstraint("source_id", "os", "release"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(
        ForeignKey("boot_source.id", ondelete="CASCADE"), index=True
    )
    os: Mapped[str]
    release: Mapped[str]
    arches: Mapped[list[str]] = mapped_column(default=lambda: ["*"])
    subarches: Mapped[list[str]] = mapped_column(default=lambda: ["*"])
    labels: Mapped[list[str]] = mapped_column(default=lambda: ["*"])
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)

    source: Mapped[BootSource] = relationship(back_populates="selections")


class ImageBinding(Base):
    """An image that comes from one source alone, whatever the priorities (rule: bound-images).

    A removed source leaves ``source_id`` empty; ``source_name`` still says which one it was.
    """

    __tablename__ = "image_binding"
    __table_args__ = (UniqueConstraint("os", "release", "arch"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    os: Mapped[str]
    release: Mapped[str]
    arch: Mapped[str]
    source_id: Mapped[int | None] = mapped_column(
        ForeignKey("boot_source.id", ondelete="SET NULL"), index=True
    )
    source_name: Mapped[str]
    bound_by: Mapped[str] = mapped_column(default="")
    bound_at: Mapped[datetime] = mapped_column(default=utcnow)


class SourceChange(Base):
    """A change of where images come from, which can be undone.

    ``steps`` are what it replaced, as services.sources.steps.Step.as_dict.
    """

    __tablename__ = "source_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    summary: Mapped[str]
    steps: Mapped[list[dict[str, Any]]]
    changed_by: Mapped[str] = mapped_column(default="")
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)


class SelectionRule(Base):
    """A rule that selects images at each refresh, as ``services.sources.ruling.Rule``.

    ``found`` is what its last evaluation gave, as ``services.sources.ruling.Match.as_dict``.
    """

    __tablename__ = "selection_rule"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    os: Mapped[str] = mapped_column(default="")
    count: Mapped[int] = mapped_column(default=0)
    pattern: Mapped[str] = mapped_column(default="")
    arches: Mapped[list[str]] = mapped_column(default=lambda: ["*"])
    kernels: Mapped[list[str]] = mapped_column(default=lambda: ["*"])
    source_id: Mapped[int | None] = mapped_column(  # None: all sources
        ForeignKey("boot_source.id", ondelete="CASCADE"), index=True
    )
    found: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    evaluated_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)
