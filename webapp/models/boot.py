# SPDX-License-Identifier: Apache-2.0
"""What machines boot from the network."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base, utcnow


class BootEntry(Base):
    """The image that a machine boots, or the default of an architecture.

    machine: a MAC address such as ``52:54:00:12:34:56``, or an architecture for its machines
    without an entry. subarch: the kernel; ``generic`` is the one for any machine.
    parameters: for the kernel, after those that Slipway adds itself.
    """

    __tablename__ = "boot_entry"

    machine: Mapped[str] = mapped_column(primary_key=True)
    os: Mapped[str]
    release: Mapped[str]
    arch: Mapped[str]
    subarch: Mapped[str] = mapped_column(default="generic")
    parameters: Mapped[str] = mapped_column(default="")
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)
    updated_by: Mapped[str] = mapped_column(default="")


class BootLoader(Base):
    """A version of a boot loader that was unpacked, or couldn't be: problem, as errors.Problem."""

    __tablename__ = "boot_loader"

    set_id: Mapped[int] = mapped_column(
        ForeignKey("resource_set.id", ondelete="CASCADE"), primary_key=True
    )
    problem: Mapped[dict[str, Any]] = mapped_column(default=dict)
    unpacked_at: Mapped[datetime] = mapped_column(default=utcnow)


class BootLoaderFile(Base):
    """A file of it; small enough to be kept here and in the memory of racks."""

    __tablename__ = "boot_loader_file"

    set_id: Mapped[int] = mapped_column(
        ForeignKey("boot_loader.set_id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
