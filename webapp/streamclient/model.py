# SPDX-License-Identifier: Apache-2.0
"""A stream as values: where it is, what was known of it, what was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from webapp.errors import Problem
from webapp.streams.documents import ProductsDocument
from webapp.streams.offers import Notification, Offer, Skipped
from webapp.streams.urls import StreamURL
from webapp.trust.keyrings import KeyInfo, Keyring


@dataclass(frozen=True)
class StreamSource:
    """Where a stream is and who may sign it; keyring None means unsigned by consent.

    confirmed: names of products that someone confirmed, though the index and the
    documents disagree on whether they are there.
    """

    url: StreamURL
    keyring: Keyring | None
    confirmed: frozenset[str] = frozenset()

    def document_path(self, path: str) -> str:
        """The path of the form of a document that can be trusted as far as the source is.

        ``.sjson`` holds text and signature in one, so that they can't be of two
        updates; an index that names the bare ``.json`` means its signed twin. Without
        a keyring only the bare one can be read.
        """
        for suffix in (".sjson", ".json.gpg", ".json"):
            if path.endswith(suffix):
                stem = path.removesuffix(suffix)
                return stem + (".json" if self.keyring is None else ".sjson")
        return path


@dataclass(frozen=True)
class KnownDocument:
    """A document as the last good read kept it."""

    path: str
    content: bytes
    sha256: str
    etag: str
    last_modified: str
    updated_at: datetime | None
    signed_at: datetime | None
    fingerprint: str


@dataclass(frozen=True)
class SignedDocument:
    """A document or its detached signature exactly as served, verified.

    ``content_id`` is "" for the index.
    """

    path: str
    content_id: str
    content: bytes
    sha256: str
    etag: str
    last_modified: str
    updated_at: datetime | None
    signed_at: datetime | None
    fingerprint: str
    fetched_at: datetime


@dataclass(frozen=True)
class Snapshot:
    """One consistent state of a stream.

    is_unchanged: the index is the known one; then documents, parsed, offers,
    skipped and notifications are empty, since the caller has them already,
    unless he asked for them.
    documents: the index first, each followed by its detached signature if it has one.
    index_updated_at: its own date, else that of its signature.
    parsed: the products documents in the same order.
    warnings: what is odd but no reason to refuse.
    unusable: documents that are signed but can't be read, and so are left out
    (rule: odd-entries); what they offered before isn't known to be gone.
    """

    is_unchanged: bool
    documents: tuple[SignedDocument, ...]
    offers: tuple[Offer, ...]
    skipped: tuple[Skipped, ...]
    index_updated_at: datetime | None
    signed_at: datetime | None
    fingerprint: str
    warnings: tuple[Problem, ...]
    keys: tuple[KeyInfo, ...]
    notifications: tuple[Notification, ...] = ()
    parsed: tuple[ProductsDocument, ...] = ()
    unusable: tuple[SignedDocument, ...] = ()
