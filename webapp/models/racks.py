# SPDX-License-Identifier: Apache-2.0
"""Racks on other machines, and the tokens that enrol them."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base, utcnow


class RackMode(enum.StrEnum):
    """What a rack keeps a copy of before a machine asks for it."""

    EVERYTHING = "everything"
    CHOSEN = "chosen"
    ON_DEMAND = "on-demand"


class RackToken(Base):
    """Enrols racks until it expires or is used up. Of its secret only the SHA-256 is kept."""

    __tablename__ = "rack_token"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    uses: Mapped[int]
    uses_left: Mapped[int]


class Rack(Base):
    """A rack on another machine: what it has to do, and what it last reported.

    credential_hash: SHA-256 of its bearer credential. system_id: its name in REST 2.0.
    max_bytes: of its store; rate: bytes per second from its upstreams; None: no limit.
    upstreams: URLs of mirrors in the order to try, [] for the region alone.
    verifications: rises to have it check its store. after_rack_id: the rack that has to
    hold a state before this one is offered it. settings_revision rises with each change of
    these. offered_*: the state of the stream that it was offered last.

    held_state to serving are its own words. event_id: the highest of its events that's kept.
    """

    __tablename__ = "rack"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    system_id: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str] = mapped_column(default="")
    address: Mapped[str] = mapped_column(default="")
    version: Mapped[str] = mapped_column(default="")
    credential_hash: Mapped[str] = mapped_column(unique=True)
    token_id: Mapped[int | None] = mapped_column(ForeignKey("rack_token.id", ondelete="SET NULL"))
    enrolled_at: Mapped[datetime] = mapped_column(default=utcnow)
    seen_at: Mapped[datetime | None]

    mode: Mapped[str] = mapped_column(default=RackMode.EVERYTHING)
    images: Mapped[list[str]] = mapped_column(default=list)
    max_bytes: Mapped[int | None] = mapped_column(BigInteger)
    rate: Mapped[int | None] = mapped_column(BigInteger)
    upstreams: Mapped[list[str]] = mapped_column(default=list)
    is_drained: Mapped[bool] = mapped_column(default=False)
    verifications: Mapped[int] = mapped_column(default=0)
    after_rack_id: Mapped[int | None] = mapped_column(ForeignKey("rack.id", ondelete="SET NULL"))
    settings_revision: Mapped[int] = mapped_column(default=1)

    offered_revision: Mapped[int] = mapped_column(default=0)
    offered_serial: Mapped[int] = mapped_column(default=0)

    held_state: Mapped[int] = mapped_column(BigInteger, default=0)
    held_serial: Mapped[int] = mapped_column(default=0)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    files: Mapped[int] = mapped_column(default=0)
    wanted_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    hits: Mapped[int] = mapped_column(BigInteger, default=0)
    misses: Mapped[int] = mapped_column(BigInteger, default=0)
    sent_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    fetched_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    speed: Mapped[int] = mapped_column(BigInteger, default=0)
    verified_at: Mapped[datetime | None]
    errors: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    serving: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    reported_at: Mapped[datetime | None]
    event_id: Mapped[int] = mapped_column(BigInteger, default=0)
