# SPDX-License-Identifier: Apache-2.0
"""What happened (events), what is set (settings), which publication is current."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base, utcnow


class Event(Base):
    """Something worth telling later: who did what, or what a machine fetched."""

    __tablename__ = "event"
    # Pages of one kind or one actor, the newest first, without counting or sorting.
    __table_args__ = (
        Index("ix_event_kind_id", "kind", "id"),
        Index("ix_event_actor_id", "actor", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
    kind: Mapped[str] = mapped_column(index=True)  # e.g. source.added, image.fetched
    actor: Mapped[str] = mapped_column(default="")  # user name, "worker", or a machine's address
    subject: Mapped[str] = mapped_column(default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)


class DayTraffic(Base):
    """Bytes that machines fetched on one day in UTC, kept as many days as events."""

    __tablename__ = "day_traffic"

    day: Mapped[date] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)


class Setting(Base):
    """A setting that is changed while running; what must be known at start is in config."""

    __tablename__ = "setting"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


class Publication(Base):
    """The one row whose serial rises with every change of what machines may fetch."""

    __tablename__ = "publication"

    id: Mapped[int] = mapped_column(primary_key=True)  # always 1
    serial: Mapped[int] = mapped_column(default=0)
    changed_at: Mapped[datetime] = mapped_column(default=utcnow)
