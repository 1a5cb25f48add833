# SPDX-License-Identifier: Apache-2.0
"""What machines boot from the network."""

from __future__ import annotations

from datetime import datetime

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
