# SPDX-License-Identifier: Apache-2.0
"""The local mirror: the signed documents that are served, and the keys that sign them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base, utcnow


class SigningKey(Base):
    """A key of the region; its secret half is a file in the data folder.

    The one with the latest ``signs_from`` that has passed signs. One whose time is
    still to come is published with it, so that readers know it before it's used.
    """

    __tablename__ = "signing_key"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    public: Mapped[bytes] = mapped_column(LargeBinary)  # armored
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    signs_from: Mapped[datetime] = mapped_column(default=utcnow)


class PublishedStream(Base):
    """The one row about the stream that is served.

    revision rises with every change of the documents. serial: the publication that they
    list. prefix: where they are served, with a slash at its end and none before it.
    state: SHA-256 of all that they were made of. updated_at is the stream's own
    date and never falls. problem: why the last attempt to sign failed, as errors.Problem.
    """

    __tablename__ = "published_stream"

    id: Mapped[int] = mapped_column(primary_key=True)  # always 1
    revision: Mapped[int] = mapped_column(default=0)
    serial: Mapped[int] = mapped_column(default=-1)
    prefix: Mapped[str] = mapped_column(default="mirror/", server_default="mirror/")
    state: Mapped[str] = mapped_column(default="")
    updated_at: Mapped[datetime | None]
    fingerprint: Mapped[str] = mapped_column(default="")
    images: Mapped[int] = mapped_column(default=0)
    files: Mapped[int] = mapped_column(default=0)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    problem: Mapped[dict[str, Any]] = mapped_column(default=dict)


class PublishedDocument(Base):
    """A document as it is served; a replaced one stays for readers that are under way."""

    __tablename__ = "published_document"

    path: Mapped[str] = mapped_column(primary_key=True)  # below /mirror/
    content: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str]
    published_at: Mapped[datetime] = mapped_column(default=utcnow)
    replaced_at: Mapped[datetime | None]


class CodeCertificate(Base):
    """A certificate that signs files for iPXE; the one that came last does.

    chain: it and those above it, in PEM. is_own: Slipway made it, and its secret half is a
    file in the data folder.
    """

    __tablename__ = "code_certificate"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    chain: Mapped[bytes] = mapped_column(LargeBinary)
    is_own: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class CodeSignature(Base):
    """The detached signature of a file, in DER."""

    __tablename__ = "code_signature"

    blob_id: Mapped[int] = mapped_column(
        ForeignKey("blob.id", ondelete="CASCADE"), primary_key=True
    )
    fingerprint: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
