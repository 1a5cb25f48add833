# SPDX-License-Identifier: Apache-2.0
"""Users, their sessions and keys, and the buckets that slow down guessing."""

from __future__ import annotations

import enum
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.models.base import Base, utcnow


class Role(enum.StrEnum):
    """What a user may do; each role may do all that the ones after it may."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    VIEWER = "viewer"


class User(Base):
    """A user who can sign in.

    parent_id: the token that created the user, who may no more and lasts no longer
    than it; None for one whom a person created or kept. expires_at: when it does.
    """

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(default=Role.VIEWER)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_login_at: Mapped[datetime | None]
    totp_secret: Mapped[str] = mapped_column(default="")  # sealed; "": no second factor
    totp_last_step: Mapped[int] = mapped_column(default=0)  # each code is accepted once
    recovery_hashes: Mapped[list[str]] = mapped_column(default=list)  # SHA-256 of unused codes
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("api_token.id", ondelete="SET NULL", use_alter=True), index=True
    )
    expires_at: Mapped[datetime | None]

    sessions: Mapped[list[LoginSession]] = relationship(
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True
    )
    api_keys: Mapped[list[APIKey]] = relationship(
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True
    )
    api_tokens: Mapped[list[APIToken]] = relationship(
        foreign_keys="APIToken.user_id",
        back_populates="user",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class LoginSession(Base):
    """A signed-in browser. The cookie holds a random token, the row only its SHA-256.

    confirmed_at: when the password (and code) were last entered in it.
    """

    __tablename__ = "login_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    seen_at: Mapped[datetime] = mapped_column(default=utcnow)
    confirmed_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(back_populates="sessions")


class APIKey(Base):
    """An OAuth 1.0 key ``consumer:token:secret``.

    secret_hash: SHA-256 of the secret, for PLAINTEXT. secret_sealed: the secret, encrypted,
    for HMAC-SHA1; "" for keys from before, until they're used with PLAINTEXT.
    parent_token_id, parent_key_id: what created it and takes it along when it ends.
    """

    __tablename__ = "api_key"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(default="")
    consumer_key: Mapped[str] = mapped_column(unique=True)
    token_key: Mapped[str] = mapped_column(unique=True)
    secret_hash: Mapped[str]
    secret_sealed: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    parent_token_id: Mapped[int | None] = mapped_column(
        ForeignKey("api_token.id", ondelete="CASCADE"), index=True
    )
    parent_key_id: Mapped[int | None] = mapped_column(
        ForeignKey("api_key.id", ondelete="CASCADE"), index=True
    )

    user: Mapped[User] = relationship(back_populates="api_keys")


class APINonce(Base):
    """A signature that was used: none is accepted twice while its timestamp is valid."""

    __tablename__ = "api_nonce"

    key_id: Mapped[int] = mapped_column(
        ForeignKey("api_key.id", ondelete="CASCADE"), primary_key=True
    )
    timestamp: Mapped[int] = mapped_column(BigInteger, primary_key=True, index=True)
    nonce: Mapped[str] = mapped_column(primary_key=True)


class APIToken(Base):
    """A bearer token of ``/api/v1`` with scopes; of the token only its SHA-256.

    ``hint`` are its first characters, enough to tell one from another in a list.
    parent_id: the token that created it and takes it along when it ends.
    """

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(default="")
    token_hash: Mapped[str] = mapped_column(unique=True)
    hint: Mapped[str] = mapped_column(default="")
    scopes: Mapped[list[str]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("api_token.id", ondelete="CASCADE"), index=True
    )

    user: Mapped[User] = relationship(foreign_keys=[user_id], back_populates="api_tokens")


class LoginThrottle(Base):
    """A token bucket for one account+address; changed by single UPDATEs only."""

    __tablename__ = "login_throttle"

    key: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of account and address
    tokens: Mapped[float]
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
