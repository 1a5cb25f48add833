# SPDX-License-Identifier: Apache-2.0
"""Read a boot source's stream: fetch, verify, parse, and never go back in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from webapp.errors import Problem
from webapp.fetch import Fetcher
from webapp.streams.keyrings import KeyInfo, Keyring
from webapp.streams.mapping import Offer, Skipped
from webapp.streams.urls import StreamURL

STALE_DAYS = 14


@dataclass(frozen=True)
class StreamSource:
    """Where a stream is and who may sign it; keyring None means unsigned by consent."""

    url: StreamURL
    keyring: Keyring | None


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
    """A document exactly as it was served, verified; ``content_id`` is "" for the index."""

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

    is_unchanged: the index is the known one; then ``documents`` and ``offers``
    are empty, since the caller has them already. warnings say what is odd but
    no reason to refuse.
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


def read_stream(
    source: StreamSource,
    fetcher: Fetcher,
    known: Mapping[str, KnownDocument],
    *,
    stale_days: int = STALE_DAYS,
    now: datetime | None = None,
) -> Snapshot:
    """Read the whole stream, or say that it is the known one.

    Raises FetchProblem, SignatureProblem, DocumentProblem; nothing is half read.
    """
    raise NotImplementedError
