# SPDX-License-Identifier: Apache-2.0
"""Images that users upload: one row for each upload, kept as its history."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base, utcnow


class UploadState(enum.StrEnum):
    """How far an upload is.

    receiving: bytes are missing. fetching: the worker fetches them from a URL
    or a path. checking: all are there and are being inspected. rejected: they are
    not what was declared; correcting the declaration may help. done: published.
    failed: they could not be fetched.
    """

    RECEIVING = "receiving"
    FETCHING = "fetching"
    CHECKING = "checking"
    REJECTED = "rejected"
    DONE = "done"
    FAILED = "failed"


OPEN_UPLOADS = (
    UploadState.RECEIVING,
    UploadState.FETCHING,
    UploadState.CHECKING,
    UploadState.REJECTED,
)


class Upload(Base):
    """One file on its way to become a version of an uploaded boot resource.

    ``token`` names its bytes in the store until they have a digest; whoever knows
    it may send, so it is never logged. ``received`` bytes are settled: they are
    not asked for again. ``sha256`` is "" until it was declared or computed.
    ``original``: sha256, size and kinds of a file that was converted to a raw disk.
    """

    __tablename__ = "upload"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default=UploadState.RECEIVING, index=True)
    origin: Mapped[str] = mapped_column(default="api")  # api, browser, cli, url or path
    place: Mapped[str] = mapped_column(default="")  # the file's name, address or path, to show
    address: Mapped[str] = mapped_column(default="")  # encrypted: the address with its query
    actor: Mapped[str] = mapped_column(default="")
    name: Mapped[str] = mapped_column(default="")
    architecture: Mapped[str] = mapped_column(default="")
    title: Mapped[str] = mapped_column(default="")
    ftype: Mapped[str] = mapped_column(default="")
    base_image: Mapped[str] = mapped_column(default="")
    is_checked_first: Mapped[bool] = mapped_column(default=True)
    size: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str] = mapped_column(default="")
    original: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    resource_id: Mapped[int | None] = mapped_column(
        ForeignKey("boot_resource.id", ondelete="SET NULL"), index=True
    )
    version: Mapped[str] = mapped_column(default="")
    report: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    problem: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    checked: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes of the full inspection
    claimed_by: Mapped[str] = mapped_column(default="")
    claimed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    touched_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]

    @property
    def is_open(self) -> bool:
        """Whether it may still become an image."""
        return self.state in OPEN_UPLOADS
